// How does one file get to Filestack, by filestack-js?

const PROGRESS_INTERVAL = 200; // milliseconds
const RETRIES = 3;
const SECOND = 1000;

/** What Filestack said, or that nothing could be heard of it. */
export class NotStored extends Error {
  constructor(error) {
    super(error?.message?.replace(/^FS-/, "") ?? "");
    const details = error?.details ?? {};
    this.status = details.code ?? 0;
    const said = details.data?.error ?? details.data;
    this.reason = typeof said === "string" ? said.slice(0, 200) : this.message;
    // filestack-js gives no details when no answer came, and where the answer was no JSON object.
    this.isSilent = !this.status && error?.type === "request" && !said;
  }
}

/**
 * Begin to send a file; return `{stored, cancel}`.
 *
 * `stored` becomes what Filestack says of the file, or fails with NotStored.
 */
export function transfer(sdk, file, permit, onProgress) {
  const { policy, signature, upload_url: uploadApiUrl } = permit;
  const client = sdk.init(permit.api_key, { security: { policy, signature } });
  client.session.urls = { ...client.session.urls, uploadApiUrl };
  // The rejected value is the file; why it failed is told by this event alone.
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
      // filestack-js forgets a cancellation that comes between two of its requests.
      timer ??= setInterval(() => token.cancel(), SECOND / 5);
    },
  };
}
