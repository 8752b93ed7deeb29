"use strict";

// Swagger UI's dark colours hang on a class; the system's setting decides, as on the other pages.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "openapi.json",
  validatorUrl: null, // by default a document is sent to swagger.io
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
});
