// no "Authorize" is kept after the page is closed, and no other server is asked to judge the document
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
