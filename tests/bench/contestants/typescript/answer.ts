/** Answers to callers. */

import type { APIGatewayProxyStructuredResultV2 } from 'aws-lambda';

/** A type, not an interface: the idempotency layer records it, and must see that it is JSON. */
export type Answer = { statusCode: number; headers: { 'content-type': string }; body: string };

export const answer = (statusCode: number, body: unknown) =>
  ({
    statusCode,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }) satisfies APIGatewayProxyStructuredResultV2;

/** A refusal, thrown where a request can't go on. */
export class Refusal extends Error {
  constructor(
    readonly statusCode: number,
    readonly code: string,
  ) {
    super(code);
  }
}
