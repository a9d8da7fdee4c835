/**
 * The tables, and the one client for them.
 *
 * The client outlives an invocation, and so do its connections. Items are read and written by `marshall` and
 * `unmarshall`, which the idempotency layer brings along; the document client would only be more to load.
 */

import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { marshall } from '@aws-sdk/util-dynamodb';

export const client = new DynamoDBClient({});

export const SUBSCRIPTIONS = process.env.SUBSCRIPTIONS_TABLE!;
export const IDEMPOTENCY = process.env.IDEMPOTENCY_TABLE!;
export const TENANTS = process.env.TENANTS_TABLE!;

/** Over how many partitions of the index `due` the pending cancellations are spread. */
export const DUE_SHARDS = 16;

export const values = (value: Record<string, unknown>) => marshall(value, { removeUndefinedValues: true });

/** An instant as text that sorts by time. */
export const toTheSecond = (at: Date) => at.toISOString().replace(/\.\d+/, '');
