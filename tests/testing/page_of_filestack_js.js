// The page of test_filestack_js.py: does one upload after the other, and says what came of each.
import { init } from "./filestack.esm.js";

async function outcome({ content, name, type, apikey, security, upload, store }, filestack) {
  const client = init(apikey, { security });
  client.session.urls = { ...client.session.urls, uploadApiUrl: filestack };
  let reason;
  client.on("upload.error", (error) => (reason = error));
  const file = new File([await (await fetch(content)).blob()], name, { type });
  try {
    const { handle, status, size, mimetype, filename, key, container } = await client.upload(
      file,
      upload,
      store,
    );
    return { handle, status, size, mimetype, filename, key, container };
  } catch (failed) {
    return { status: failed.status, error: reason?.message, details: reason?.details };
  }
}

const { filestack, uploads } = await (await fetch("./uploads.json")).json();
for (const [name, each] of Object.entries(uploads)) {
  const body = JSON.stringify(await outcome(each, filestack));
  await fetch(`./said/${name}`, { method: "POST", body });
}
await fetch("./end", { method: "POST" });
