// The reference of the API, on the service that runs here and with its key filled in. Nothing is loaded from elsewhere.

const { apiKey } = await (await fetch("/_local/api-key")).json();

globalThis.Scalar.createApiReference("#reference", {
  url: "/openapi.yaml",
  servers: [{ url: location.origin, description: "This one" }],
  authentication: { preferredSecurityScheme: "ApiKey", securitySchemes: { ApiKey: { value: apiKey ?? "" } } },
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  // A key names one intended change, so each request that has none gets one of its own; it is shown with the request.
  onBeforeRequest({ requestBuilder }) {
    const { method, headers } = requestBuilder;
    const changes = ["POST", "DELETE"].includes(method.toUpperCase());
    const hasKey = ["X-Idempotency-Key", "Idempotency-Key"].some((name) => headers.get(name));
    if (changes && !hasKey) headers.set("X-Idempotency-Key", crypto.randomUUID());
  },
  hideClientButton: true,
  showDeveloperTools: "never",
});
