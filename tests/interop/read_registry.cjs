// Read targets with tuf-js: node read_registry.cjs URL FOLDER_WITH_ROOT TARGET...
const { mkdirSync, readFileSync } = require("node:fs");
const { Updater } = require("tuf-js");

async function main() {
  const [url, folder, ...targets] = process.argv.slice(2);
  mkdirSync(`${folder}/targets`, { recursive: true });
  const updater = new Updater({
    metadataDir: folder,
    metadataBaseUrl: `${url}/metadata/`,
    targetDir: `${folder}/targets`,
    targetBaseUrl: `${url}/targets/`,
  });
  await updater.refresh();
  const found = {};
  for (const target of targets) {
    const info = await updater.getTargetInfo(target);
    found[target] = info ? readFileSync(await updater.downloadTarget(info), "utf8") : null;
  }
  console.log(JSON.stringify(found));
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
