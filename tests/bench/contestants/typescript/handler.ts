/**
 * The three functions behind one handler: reading a subscription, cancelling one, and executing due ones.
 *
 * A request is logged and counted when it is answered.
 */

import type { APIGatewayProxyEventV2, Context, EventBridgeEvent } from 'aws-lambda';
import { admit } from './admit';
import { type Answer, answer, Refusal } from './answer';
import { cancelSubscription } from './cancel';
import { executeCancellations } from './execute';
import { count, logger, metrics } from './telemetry';

type Event = APIGatewayProxyEventV2 | EventBridgeEvent<'Scheduled Event', unknown>;

async function respond(event: APIGatewayProxyEventV2, context: Context): Promise<Answer> {
  try {
    switch (event.routeKey) {
      case 'GET /subscriptions/{subscriptionId}':
        return answer(200, (await admit(event, 'subscriptions:read')).stored.document);
      case 'POST /subscriptions/{subscriptionId}/cancel':
        return await cancelSubscription(event, context);
      default:
        return answer(404, { code: 'not_found' });
    }
  } catch (error) {
    if (error instanceof Refusal) return answer(error.statusCode, { code: error.code });
    throw error;
  }
}

export async function handler(event: Event, context: Context) {
  logger.addContext(context);
  try {
    if ('detail-type' in event) return await executeCancellations(context);
    const answered = await respond(event, context);
    const status = answered.statusCode;
    // Read from the body, because some refusals are not thrown, but recorded as answers.
    const outcome: string = status === 200 ? 'ok' : JSON.parse(answered.body).code;
    logger.info('answered', {
      method: event.requestContext.http.method,
      route: event.routeKey,
      subscription: event.pathParameters?.subscriptionId,
      outcome,
      status,
    });
    metrics.addDimension('Outcome', outcome);
    count('Requests');
    return answered;
  } finally {
    metrics.publishStoredMetrics();
  }
}
