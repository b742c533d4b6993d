// Send one file to Filestack with filestack-js.

const PROGRESS_INTERVAL = 200; // milliseconds
const RETRIES = 3;
const SECOND = 1000;

/** Filestack's error, or the lack of a response. */
export class NotStored extends Error {
  constructor(error) {
    super(error?.message?.replace(/^FS-/, "") ?? "");
    const details = error?.details ?? {};
    this.status = details.code ?? 0;
    const said = details.data?.error ?? details.data;
    this.reason = typeof said === "string" ? said.slice(0, 200) : this.message;
    // filestack-js gives no details if there was no response, or if it was not a JSON object.
    this.isSilent = !this.status && error?.type === "request" && !said;
  }
}

/**
 * Start to send a file; return `{stored, cancel}`.
 *
 * `stored` is a promise of Filestack's data about the file; it rejects with NotStored.
 */
export function transfer(sdk, file, permit, onProgress) {
  const { policy, signature, upload_url: uploadApiUrl } = permit;
  const client = sdk.init(permit.api_key, { security: { policy, signature } });
  client.session.urls = { ...client.session.urls, uploadApiUrl };
  // The promise rejects with the file; only this event has the reason.
  let reason;
  client.on("upload.error", (error) => (reason = error));
  const token = {};
  const options = {
    onProgress: ({ totalPercent }) => onProgress(totalPercent),
    progressInterval: PROGRESS_INTERVAL,
    retry: RETRIES,
  };
  let timer;
  const stored = client
    .upload(file, options, permit.store, token)
    .catch(() => {
      throw new NotStored(reason);
    })
    .finally(() => clearInterval(timer));
  return {
    stored,
    cancel() {
      token.cancel();
      // filestack-js loses a cancellation between two of its requests.
      timer ??= setInterval(() => token.cancel(), SECOND / 5);
    },
  };
}
