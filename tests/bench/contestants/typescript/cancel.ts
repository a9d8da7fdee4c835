/**
 * Cancels a subscription for a future date, once for each idempotency key.
 *
 * Decisions that depend on the clock or on the state are made within the idempotent part. So a repeated request gets the
 * same answer as the first time, even if the subscription has changed since.
 */

import { randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import {
  IdempotencyAlreadyInProgressError,
  IdempotencyConfig,
  IdempotencyValidationError,
  makeIdempotent,
} from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import { ConditionalCheckFailedException, PutItemCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import type { APIGatewayProxyEventV2, Context } from 'aws-lambda';
import { admit, type Admitted } from './admit';
import { type Answer, answer, Refusal } from './answer';
import { beginningOf, exists, firstOfNextMonth, nextDay, today } from './calendar';
import { AUDIT, client, DUE_SHARDS, IDEMPOTENCY, SUBSCRIPTIONS, toTheSecond, values } from './database';
import { count } from './telemetry';

const REASONS = new Set([
  'BETTER_DEAL_PRICE',
  'NOT_HAPPY_MISSING_FUNCTIONS',
  'NOT_HAPPY_COVERAGE_SLA',
  'NOT_HAPPY_COMPLEX_ADMIN',
  'NOT_HAPPY_SUPPORT_ENGAGEMENT',
  'FRAUD',
  'FRAUD_ATTEMPT',
  'TEST_OR_MARKETING',
  'NO_NEED',
  'WRONG_ORDER',
  'OTHER',
]);

interface CancelRequest {
  schedule:
    | { type: 'CancelNextDay' | 'CancelAtBeginningOfNextMonth' }
    | { type: 'CancelAtDate'; date: string };
  reason: string;
  comment?: string;
  metadata?: Record<string, unknown>;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isCancelRequest(body: unknown): body is CancelRequest {
  if (!isObject(body) || !isObject(body.schedule)) return false;
  const { schedule, reason, comment, metadata } = body;
  const isSchedule =
    schedule.type === 'CancelAtDate'
      ? typeof schedule.date === 'string' && exists(schedule.date)
      : schedule.type === 'CancelNextDay' || schedule.type === 'CancelAtBeginningOfNextMonth';
  const isComment =
    comment === undefined ? reason !== 'OTHER' : typeof comment === 'string' && comment.length <= 1_000;
  return (
    isSchedule &&
    typeof reason === 'string' &&
    REASONS.has(reason) &&
    isComment &&
    (metadata === undefined || isObject(metadata))
  );
}

function read(body: string | undefined): CancelRequest {
  let request: unknown;
  try {
    request = JSON.parse(body ?? '');
  } catch {
    throw new Refusal(400, 'malformed_json');
  }
  if (!isCancelRequest(request)) throw new Refusal(400, 'validation_failed');
  return request;
}

function effectiveDate({ schedule }: CancelRequest, todayThere: string): string {
  switch (schedule.type) {
    case 'CancelNextDay':
      return nextDay(todayThere);
    case 'CancelAtBeginningOfNextMonth':
      return firstOfNextMonth(todayThere);
    case 'CancelAtDate':
      return schedule.date;
  }
}

/** Identity of a request, by which the idempotency layer tells one from another. */
interface Identity {
  tenant: string;
  requestId: string;
  idempotencyKey?: string;
  method: string;
  path: string;
  body?: string;
}

async function cancel({ requestId }: Identity, admitted: Admitted, request: CancelRequest): Promise<Answer> {
  const { keyId, timeZone, stored } = admitted;
  const { pk, document, version } = stored;
  if (document.status === 'CANCELLED') return answer(409, { code: 'subscription_already_cancelled' });

  const now = new Date();
  const requestedAt = now.toISOString();
  const todayThere = today(timeZone, now.getTime());
  const date = effectiveDate(request, todayThere);
  const beginning = date > todayThere ? beginningOf(date, timeZone) : undefined;
  if (beginning === undefined) return answer(400, { code: 'validation_failed' });

  const effectiveAt = toTheSecond(beginning);
  const cancellationId = randomUUID();
  const pendingStatus = { status: 'CANCELLED', scheduledAt: date };
  const cancellation = {
    cancellationId,
    effectiveAt,
    reason: request.reason,
    comment: request.comment,
    // As text: a DynamoDB map can't hold every JSON value.
    metadata: request.metadata && JSON.stringify(request.metadata),
    requestedAt,
    requestedBy: keyId,
  };
  try {
    await client.send(
      new UpdateItemCommand({
        TableName: SUBSCRIPTIONS,
        Key: { pk: { S: pk } },
        UpdateExpression:
          'SET version = :next, document.updatedAt = :now, document.pendingStatus = :pending, ' +
          'cancellationId = :id, cancellation = :cancellation, dueShard = :shard, dueAt = :due',
        ConditionExpression: 'version = :version',
        ExpressionAttributeValues: values({
          ':version': version,
          ':next': version + 1,
          ':now': requestedAt,
          ':pending': pendingStatus,
          ':id': cancellationId,
          ':cancellation': cancellation,
          ':shard': crc32(document.subscriptionId) % DUE_SHARDS,
          ':due': effectiveAt,
        }),
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    // Thrown, so that it is not recorded: the same request may succeed in a moment.
    throw new Refusal(409, 'conflict');
  }
  // After the change: an entry of what was not done would be worse than none. If the function dies in between, there is none.
  if (AUDIT) {
    await client.send(
      new PutItemCommand({
        TableName: AUDIT,
        Item: values({
          pk,
          revision: String(version + 1).padStart(20, '0'),
          at: requestedAt,
          cause: 'SCHEDULED',
          source: 'API',
          requestedBy: { keyId },
          requestId,
          cancellation,
          status: document.status,
          pendingStatus,
        }),
        ConditionExpression: 'attribute_not_exists(pk)',
      }),
    );
  }
  count('CancellationsScheduled');
  return answer(200, { ...document, updatedAt: requestedAt, pendingStatus });
}

const config = new IdempotencyConfig({
  eventKeyJmesPath: '[tenant, idempotencyKey]',
  payloadValidationJmesPath: '[method, path, body]',
  expiresAfterSeconds: 86_400,
});

const cancelOnce = makeIdempotent(cancel, {
  persistenceStore: new DynamoDBPersistenceLayer({
    tableName: IDEMPOTENCY,
    keyAttr: 'pk',
    awsSdkV3Client: client,
  }),
  config,
});

export async function cancelSubscription(event: APIGatewayProxyEventV2, context: Context): Promise<Answer> {
  const admitted = await admit(event, 'subscriptions:cancel');
  const idempotencyKey = event.headers['x-idempotency-key'];
  const identity: Identity = {
    tenant: admitted.tenant,
    requestId: context.awsRequestId,
    idempotencyKey,
    method: event.requestContext.http.method,
    path: event.rawPath,
    body: event.body,
  };
  const request = read(event.body);
  if (idempotencyKey === undefined) return cancel(identity, admitted, request);

  config.registerLambdaContext(context);
  try {
    return await cancelOnce(identity, admitted, request);
  } catch (error) {
    if (error instanceof IdempotencyValidationError) throw new Refusal(422, 'idempotency_key_mismatch');
    if (error instanceof IdempotencyAlreadyInProgressError) throw new Refusal(409, 'idempotency_key_locked');
    throw error;
  }
}
