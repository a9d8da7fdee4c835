/**
 * The loop between Lambda and the handler.
 *
 * The loop does less than AWS's own client, which needs a compiled native module. It has no patched console, streaming,
 * X-Ray or check of the handler. This favours this contestant.
 */

import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Context } from 'aws-lambda';
import { handler } from './handler';

const { AWS_LAMBDA_RUNTIME_API: host = '' } = process.env;
const agent = new Agent({ keepAlive: true });

function call(method: string, path: string, body?: string) {
  return new Promise<{ headers: IncomingHttpHeaders; body: string }>((resolve, reject) => {
    const url = `http://${host}/2018-06-01/runtime/invocation/${path}`;
    const sent = request(url, { method, agent }, (response) => {
      text(response).then((body) => resolve({ headers: response.headers, body }), reject);
    });
    sent.on('error', reject).end(body);
  });
}

function contextOf(headers: IncomingHttpHeaders) {
  return {
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    getRemainingTimeInMillis: () => Number(headers['lambda-runtime-deadline-ms']) - Date.now(),
  } as Context;
}

async function run(): Promise<never> {
  for (;;) {
    const { headers, body } = await call('GET', 'next');
    const context = contextOf(headers);
    try {
      const result = await handler(JSON.parse(body), context);
      await call('POST', `${context.awsRequestId}/response`, JSON.stringify(result));
    } catch (error) {
      console.error(error);
      const { name: errorType, message: errorMessage } = error as Error;
      await call('POST', `${context.awsRequestId}/error`, JSON.stringify({ errorType, errorMessage }));
    }
  }
}

void run();
