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
  hideClientButton: true,
  showDeveloperTools: "never",
});
