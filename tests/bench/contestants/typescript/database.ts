/**
 * The tables, and the one client for them.
 *
 * The client and its connections outlive an invocation. Items are read and written by `marshall` and
 * `unmarshall`, which the idempotency layer needs anyway. The document client would be more code to load.
 */

import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { marshall } from '@aws-sdk/util-dynamodb';

export const client = new DynamoDBClient({});

export const SUBSCRIPTIONS = process.env.SUBSCRIPTIONS_TABLE!;
export const IDEMPOTENCY = process.env.IDEMPOTENCY_TABLE!;
export const TENANTS = process.env.TENANTS_TABLE!;

/** Table for an entry of each cancellation, of who did it and why. Without it, none is written. */
export const AUDIT = process.env.AUDIT_TABLE;

/** Number of partitions of the index `due` over which the pending cancellations are spread. */
export const DUE_SHARDS = 16;

export const values = (value: Record<string, unknown>) => marshall(value, { removeUndefinedValues: true });

/** Returns an instant as text that sorts by time. */
export const toTheSecond = (at: Date) => at.toISOString().replace(/\.\d+/, '');
