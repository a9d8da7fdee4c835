// The document of the API, as Postman imports it. Only the address and the API key are filled in, and each request that Postman
// generates is answered with 200. CONNECT_URL and API_KEY belong to a running service with the demo subscriptions.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import converter from "openapi-to-postmanv2";

const { CONNECT_URL: baseUrl, API_KEY: apiKey } = process.env;
const DEMO = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0001";

async function collection(options) {
  const data = await readFile(new URL("../../../infra/openapi.yaml", import.meta.url), "utf8");
  return new Promise((resolve, reject) => {
    converter.convertV2({ type: "string", data }, options, (error, converted) => {
      if (error || !converted.result) reject(error ?? new Error(converted.reason));
      else resolve(converted.output[0].data);
    });
  });
}

// Of these, a request to find subscriptions has exactly one. Whoever sends it unticks the others.
const OTHERS = ["customerId", "referenceId"];

const requests = (items) => items.flatMap(({ item, request }) => (item ? requests(item) : [request]));

function filledIn(request, ids) {
  const fill = (text) => text.replace("{{baseUrl}}", baseUrl).replace("{{apiKey}}", apiKey);
  const variables = Object.fromEntries(request.url.variable.map(({ key, value }) => [`:${key}`, ids[key] ?? value]));
  const url = [...request.url.host, ...request.url.path.map((part) => variables[part] ?? part)].map(fill).join("/");
  const sent = request.header.filter(({ disabled }) => !disabled).map(({ key, value }) => [key, value]);
  const apikey = Object.fromEntries(request.auth.apikey.map(({ key, value }) => [key, value]));
  assert.equal(apikey.in, "header");
  const headers = Object.fromEntries([...sent, [apikey.key, fill(apikey.value)]]);
  const ticked = request.url.query.filter(({ key }) => !OTHERS.includes(key));
  const query = new URLSearchParams(ticked.map(({ key, value }) => [key, value]));
  return [`${url}?${query}`, { method: request.method, headers, body: request.body?.raw }];
}

// From a schema alone, Postman generates an id that does not exist.
for (const [parametersResolution, ids] of [["Example", {}], ["Schema", { subscriptionId: DEMO }]]) {
  test(`what Postman makes of each ${parametersResolution.toLowerCase()} works`, async () => {
    const { item } = await collection({ parametersResolution });
    const methods = [];
    for (const request of requests(item)) {
      const answer = await fetch(...filledIn(request, ids));
      const body = await answer.text();
      assert.equal(answer.status, 200, `${request.method}: ${body}`);
      assert.equal(answer.headers.get("idempotent-replayed"), null, request.method);
      methods.push(request.method);
    }
    assert.deepEqual(methods, ["GET", "GET", "POST", "DELETE", "POST", "GET", "GET"]);
  });
}
