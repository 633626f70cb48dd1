"use strict";

SwaggerUIBundle({
  url: new URL("api/v1/openapi.json", document.baseURI).href,
  dom_id: "#docs",
  deepLinking: true,
  // Checks the document with a service elsewhere.
  validatorUrl: null,
  // What is asked for in the address bar must not choose another document.
  queryConfigEnabled: false,
});
