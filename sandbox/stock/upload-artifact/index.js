// Uploads an artifact with version 4 of GitHub's protocol. The stand-in's runner cannot give an action variables that
// scripts do not get, so that the ones of the protocol have another name here.
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const zlib = require("node:zlib");

const input = (name) => (process.env[`INPUT_${name.toUpperCase()}`] || "").trim();
const token = process.env.SANDBOX_ACTIONS_RUNTIME_TOKEN;
const service = `${process.env.SANDBOX_ACTIONS_RESULTS_URL}twirp/github.actions.results.api.v1.ArtifactService/`;

async function call(method, body) {
  const scope = JSON.parse(Buffer.from(token.split(".")[1], "base64url")).scp.split(" ").find((s) => s.startsWith("Actions.Results:"));
  const [, run, job] = scope.split(":");
  const response = await fetch(service + method, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify({ workflow_run_backend_id: run, workflow_job_run_backend_id: job, ...body }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method}: ${response.status} ${text}`);
  return JSON.parse(text);
}

const table = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const crc32 = (data) => (data.reduce((c, b) => table[(c ^ b) & 0xff] ^ (c >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;

function archive(files) {
  const parts = [], directory = [];
  let offset = 0;
  for (const { name, content } of files) {
    const packed = zlib.deflateRawSync(content), encoded = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0), common.writeUInt16LE(0x800, 2), common.writeUInt16LE(8, 4), common.writeUInt16LE(0x21, 8);
    common.writeUInt32LE(crc32(content), 10), common.writeUInt32LE(packed.length, 14), common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(encoded.length, 22);
    parts.push(Buffer.from("PK\x03\x04", "latin1"), common, encoded, packed);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00", "latin1"), common, rest, encoded);
    offset += 30 + encoded.length + packed.length;
  }
  const listed = Buffer.concat(directory), end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1"), end.writeUInt16LE(files.length, 8), end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(listed.length, 12), end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, listed, end]);
}

function walk(from) {
  if (!fs.existsSync(from)) return [];
  if (!fs.statSync(from).isDirectory()) return [from];
  const hidden = input("include-hidden-files") === "true";
  return fs.readdirSync(from).filter((n) => hidden || !n.startsWith(".")).flatMap((n) => walk(path.join(from, n)));
}

async function main() {
  const wanted = input("path").split("\n").map((p) => p.trim()).filter(Boolean);
  if (wanted.some((p) => /[*?!]/.test(p))) throw new Error("the stand-in takes no patterns in path");
  const roots = wanted.map((p) => path.resolve(process.env.GITHUB_WORKSPACE, p));
  const found = roots.flatMap(walk);
  if (found.length === 0) {
    const words = `No files were found with the provided path: ${wanted.join(", ")}. No artifacts will be uploaded.`;
    if (input("if-no-files-found") === "error") throw new Error(words);
    console.log(`::warning::${words}`);
    return;
  }
  // One directory is the root itself; otherwise it is what all paths have in common.
  let root = path.dirname(found[0]);
  if (roots.length === 1 && fs.statSync(roots[0]).isDirectory()) root = roots[0];
  else for (const file of found) while (!file.startsWith(root.endsWith("/") ? root : root + "/")) root = path.dirname(root);
  const content = archive(found.map((file) => ({ name: path.relative(root, file), content: fs.readFileSync(file) })));
  const digest = crypto.createHash("sha256").update(content).digest("hex");

  const name = input("name");
  const { signed_upload_url: address } = await call("CreateArtifact", { name, version: 4 });
  const block = Buffer.from("block-0").toString("base64");
  const put = async (query, body) => {
    const response = await fetch(address + query, { method: "PUT", body });
    if (!response.ok) throw new Error(`upload: ${response.status} ${await response.text()}`);
  };
  await put(`&comp=block&blockid=${encodeURIComponent(block)}`, content);
  await put("&comp=blocklist", `<?xml version="1.0" encoding="utf-8"?><BlockList><Latest>${block}</Latest></BlockList>`);
  const { artifact_id: id } = await call("FinalizeArtifact", { name, size: String(content.length), hash: { value: `sha256:${digest}` } });
  fs.appendFileSync(process.env.GITHUB_OUTPUT, `artifact-id=${id}\nartifact-digest=${digest}\n`);
  console.log(`Artifact ${name} has been successfully uploaded: ${found.length} files, ${content.length} bytes, id ${id}`);
}

main().catch((error) => {
  console.log(`::error::${error.message}`);
  process.exitCode = 1;
});
