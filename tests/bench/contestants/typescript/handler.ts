/** The three functions behind one handler: reading a subscription, cancelling one, and executing due ones. */

import type { APIGatewayProxyEventV2, Context, EventBridgeEvent } from 'aws-lambda';
import { admit } from './admit';
import { answer, Refusal } from './answer';
import { cancelSubscription } from './cancel';
import { executeCancellations } from './execute';

type Event = APIGatewayProxyEventV2 | EventBridgeEvent<'Scheduled Event', unknown>;

export async function handler(event: Event, context: Context) {
  if ('detail-type' in event) return executeCancellations(context);
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
