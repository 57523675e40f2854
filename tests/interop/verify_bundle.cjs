// Verify a bundle with sigstore-js: node verify_bundle.cjs BUNDLE TRUSTED_ROOT ISSUER SUBJECT
const { readFileSync } = require("node:fs");
const { bundleFromJSON } = require("@sigstore/bundle");
const { TrustedRoot } = require("@sigstore/protobuf-specs");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");

const [bundle, root, issuer, subject] = process.argv.slice(2);
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const material = toTrustMaterial(TrustedRoot.fromJSON(read(root)));
const verifier = new Verifier(material, { tlogThreshold: 1, ctlogThreshold: 1, tsaThreshold: 1 });
const signer = verifier.verify(toSignedEntity(bundleFromJSON(read(bundle))), {
  subjectAlternativeName: subject,
  extensions: { issuer },
});
console.log(JSON.stringify({ subject: signer.identity.subjectAlternativeName }));
