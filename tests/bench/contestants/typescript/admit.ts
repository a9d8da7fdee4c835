/**
 * Authenticates a request and loads its subscription, in one read.
 *
 * The key `ck_<tenant>_<keyId>_<secret><checksum>` names its tenant, so nothing has to be read before the rest.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { BatchGetItemCommand } from '@aws-sdk/client-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import { Refusal } from './answer';
import { client, SUBSCRIPTIONS, TENANTS } from './database';

export interface Stored {
  pk: string;
  document: Record<string, unknown> & { subscriptionId: string; status: string };
  version: number;
}

export interface Admitted {
  tenant: string;
  keyId: string;
  timeZone: string;
  stored: Stored;
}

const TOKEN = /^(ck_([a-z0-9-]{1,32})_([A-Za-z0-9]{1,32})_([0-9a-f]{64}))([0-9a-f]{8})$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export async function admit(
  event: APIGatewayProxyEventV2,
  scope: 'subscriptions:read' | 'subscriptions:cancel',
): Promise<Admitted> {
  const token = event.headers['x-api-key'];
  if (token === undefined) throw new Refusal(401, 'api_key_missing');
  const [, signed = '', tenant, keyId, secret = '', checksum] = TOKEN.exec(token) ?? [];
  if (!checksum || crc32(signed) !== parseInt(checksum, 16)) throw new Refusal(401, 'api_key_invalid');

  const id = event.pathParameters?.subscriptionId?.toLowerCase() ?? '';
  if (!UUID.test(id)) throw new Refusal(400, 'invalid_subscription_id');

  const keyPk = `${tenant}#${keyId}`;
  // Only a cancellation needs the tenant's time zone.
  const tenants = scope === 'subscriptions:cancel' ? [keyPk, tenant!] : [keyPk];
  const { Responses = {}, UnprocessedKeys = {} } = await client.send(
    new BatchGetItemCommand({
      RequestItems: {
        [TENANTS]: { ConsistentRead: true, Keys: tenants.map((pk) => ({ pk: { S: pk } })) },
        [SUBSCRIPTIONS]: { ConsistentRead: true, Keys: [{ pk: { S: `${tenant}#${id}` } }] },
      },
    }),
  );
  if (Object.keys(UnprocessedKeys).length > 0) throw new Refusal(503, 'temporarily_unavailable');

  const ofTenants = (Responses[TENANTS] ?? []).map((item) => unmarshall(item));
  const key = ofTenants.find(({ pk }) => pk === keyPk);
  const hash = createHash('sha256').update(secret, 'hex').digest();
  const isValid =
    key !== undefined &&
    timingSafeEqual(hash, key.secretHash) &&
    key.revokedAt === undefined &&
    (key.expiresAt === undefined || Date.parse(key.expiresAt) > Date.now());
  if (!isValid) throw new Refusal(401, 'api_key_invalid');
  if (!key.scopes.includes(scope)) throw new Refusal(403, 'insufficient_scope');

  const [item] = Responses[SUBSCRIPTIONS] ?? [];
  if (item === undefined) throw new Refusal(404, 'subscription_not_found');
  const timeZone = ofTenants.find(({ pk }) => pk === tenant)?.timeZone ?? 'UTC';
  return { tenant: tenant!, keyId: keyId!, timeZone, stored: unmarshall(item) as Stored };
}
