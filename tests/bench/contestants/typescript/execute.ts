/**
 * Executes the cancellations that are due.
 *
 * The index is eventually consistent and may have outdated entries. The condition of the write decides.
 */

import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import { ConditionalCheckFailedException, paginateQuery, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import type { Context } from 'aws-lambda';
import { client, DUE_SHARDS, IDEMPOTENCY, SUBSCRIPTIONS, toTheSecond, values } from './database';
import { count, logger } from './telemetry';

const AT_ONCE = 16;

interface Due {
  pk: string;
  cancellationId: string;
  dueAt: string;
}

async function dueIn(shard: number, now: string): Promise<Due[]> {
  const due: Due[] = [];
  const query = {
    TableName: SUBSCRIPTIONS,
    IndexName: 'due',
    KeyConditionExpression: 'dueShard = :shard AND dueAt <= :now',
    ExpressionAttributeValues: values({ ':shard': shard, ':now': now }),
  };
  for await (const { Items = [] } of paginateQuery({ client }, query)) {
    due.push(...Items.map((item) => unmarshall(item) as Due));
  }
  return due;
}

async function execute(cancellationId: string, { pk, dueAt }: Due): Promise<'executed' | 'skipped'> {
  try {
    await client.send(
      new UpdateItemCommand({
        TableName: SUBSCRIPTIONS,
        Key: { pk: { S: pk } },
        UpdateExpression:
          'SET version = version + :one, document.#status = :cancelled, ' +
          'document.cancelledAt = :dueAt, document.updatedAt = :now ' +
          'REMOVE document.pendingStatus, dueShard, dueAt',
        ConditionExpression: 'cancellationId = :id AND dueAt = :dueAt',
        ExpressionAttributeNames: { '#status': 'status' },
        ExpressionAttributeValues: values({
          ':one': 1,
          ':cancelled': 'CANCELLED',
          ':now': new Date().toISOString(),
          ':id': cancellationId,
          ':dueAt': dueAt,
        }),
      }),
    );
    logger.info('executed', { cancellation: cancellationId });
    return 'executed';
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return 'skipped';
    throw error;
  }
}

const config = new IdempotencyConfig({});

// A layer keeps the configuration of its first use, so this one is not shared with requests.
const executeOnce = makeIdempotent(execute, {
  persistenceStore: new DynamoDBPersistenceLayer({
    tableName: IDEMPOTENCY,
    keyAttr: 'pk',
    awsSdkV3Client: client,
  }),
  config,
});

export async function executeCancellations(context: Context) {
  config.registerLambdaContext(context);
  const now = toTheSecond(new Date());
  const shards = await Promise.all(Array.from({ length: DUE_SHARDS }, (_, shard) => dueIn(shard, now)));
  const due = shards.flat();
  const summary = { due: due.length, executed: 0, skipped: 0, failed: 0 };

  const queue = due.values();
  const work = async () => {
    for (const entry of queue) {
      try {
        summary[await executeOnce(entry.cancellationId, entry)] += 1;
      } catch (error) {
        // The entry stays in the index, for the next sweep.
        logger.error('failed', { cancellation: entry.cancellationId, error });
        summary.failed += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  logger.info('swept', summary);
  count('CancellationsExecuted', summary.executed);
  count('CancellationsFailed', summary.failed);
  return summary;
}
