// Downloads an artifact of the same run with version 4 of GitHub's protocol.
const fs = require("node:fs");
const path = require("node:path");
const zlib = require("node:zlib");

const input = (name) => (process.env[`INPUT_${name.toUpperCase()}`] || "").trim();
const token = process.env.SANDBOX_ACTIONS_RUNTIME_TOKEN;
const service = `${process.env.SANDBOX_ACTIONS_RESULTS_URL}twirp/github.actions.results.api.v1.ArtifactService/`;

async function main() {
  const scope = JSON.parse(Buffer.from(token.split(".")[1], "base64url")).scp.split(" ").find((s) => s.startsWith("Actions.Results:"));
  const [, run, job] = scope.split(":");
  const answer = await fetch(service + "GetSignedArtifactURL", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify({ workflow_run_backend_id: run, workflow_job_run_backend_id: job, name: input("name") }),
  });
  if (!answer.ok) throw new Error(`Unable to download artifact ${input("name")}: ${answer.status} ${await answer.text()}`);
  const archive = Buffer.from(await (await fetch((await answer.json()).signed_url)).arrayBuffer());

  const root = path.resolve(process.env.GITHUB_WORKSPACE, input("path") || ".");
  const end = archive.lastIndexOf("PK\x05\x06", undefined, "latin1");
  let at = archive.readUInt32LE(end + 16);
  for (let n = archive.readUInt16LE(end + 10); n > 0; n--) {
    const length = archive.readUInt16LE(at + 28), start = archive.readUInt32LE(at + 42);
    const name = archive.toString("utf8", at + 46, at + 46 + length);
    const target = path.resolve(root, name);
    if (!target.startsWith(root + "/") && target !== root) throw new Error(`${name} leads out of the directory`);
    const data = start + 30 + archive.readUInt16LE(start + 26) + archive.readUInt16LE(start + 28);
    const packed = archive.subarray(data, data + archive.readUInt32LE(at + 20));
    fs.mkdirSync(path.dirname(target), { recursive: true });
    if (!name.endsWith("/")) fs.writeFileSync(target, archive.readUInt16LE(at + 10) === 8 ? zlib.inflateRawSync(packed) : packed);
    at += 46 + length + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  fs.appendFileSync(process.env.GITHUB_OUTPUT, `download-path=${root}\n`);
}

main().catch((error) => {
  console.log(`::error::${error.message}`);
  process.exitCode = 1;
});
