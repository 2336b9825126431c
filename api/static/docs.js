// The API's description in Swagger UI. Requests carry the key that this tab was given on the page.

import { Problem, askJson, headersWithKey } from "./api.js";

try {
  const spec = await askJson("GET", "openapi.json");
  window.SwaggerUIBundle({
    spec,
    dom_id: "#docs",
    deepLinking: true,
    docExpansion: "list",
    validatorUrl: null,
    requestInterceptor: (request) => {
      if (!request.headers.Authorization) request.headers = headersWithKey(request.headers);
      return request;
    },
  });
} catch (error) {
  const needsKey = error instanceof Problem && error.status === 401;
  const words = needsKey ? "The description needs an API key: enter one there, then follow its link to this page." : error.message;
  document.getElementById("docs-words").textContent = words;
  document.getElementById("docs-trouble").hidden = false;
}
