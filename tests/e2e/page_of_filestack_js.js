// The page of test_filestack_js.py: runs one call after the other, and reports what each returned.
import { init } from "./filestack.esm.js";

const CALLS = {
  async upload(client, { content, name, type, upload, store }) {
    const file = new File([await (await fetch(content)).blob()], name, { type });
    const { handle, status, size, mimetype, filename, key, container } = await client.upload(
      file,
      upload,
      store,
    );
    return { handle, status, size, mimetype, filename, key, container };
  },
  storeURL: (client, { arguments: given }) => client.storeURL(...given),
  metadata: (client, { arguments: given }) => client.metadata(...given),
  remove: async (client, { arguments: given }) => ({ status: (await client.remove(...given)).status }),
  prefetch: (client, { arguments: given }) => client.prefetch(...given),
};

async function outcome({ call, apikey, security, ...rest }, filestack) {
  const client = init(apikey, { security });
  client.session.urls = {
    ...client.session.urls,
    uploadApiUrl: filestack,
    processUrl: filestack,
    fileApiUrl: `${filestack}/api/file`,
  };
  let reason;
  client.on("upload.error", (error) => (reason = error));
  try {
    return await CALLS[call](client, rest);
  } catch (failed) {
    const { message, details } = reason ?? failed;
    return { status: failed.status, error: message, details };
  }
}

const { filestack, calls } = await (await fetch("./calls.json")).json();
for (const [name, each] of Object.entries(calls)) {
  const body = JSON.stringify(await outcome(each, filestack));
  await fetch(`./said/${name}`, { method: "POST", body });
}
await fetch("./end", { method: "POST" });
