// What a client with generated types does: register, decide, search, and be refused.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

declare const process: { argv: string[] };

const client = createClient<paths>({
  baseUrl: process.argv[2],
  headers: { Authorization: `Basic ${btoa("root:secret")}` },
});

function expect(holds: boolean, said: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(said));
}

const made = await client.POST("/api/v1/assets/", { body: { handle: "fromTypeScript" } });
const id = made.data?.id;
expect(id !== undefined, made.error);

const decided = await client.POST("/api/v1/assets/{asset}/tags/", {
  params: { path: { asset: id } },
  body: { name: "cloud", confidence: 90 },
});
expect(decided.data?.changed === true, decided.error);

const page = await client.GET("/api/v1/assets/", { params: { query: { tag: ["cloud:90"] } } });
expect(page.data?.results[0]?.reference === "fromTypeScript", page.error);
const confidence: number | undefined = page.data.results[0].tags?.[0]?.confidence;
expect(confidence === 90, page.data);

const refused = await client.GET("/api/v1/assets/", { params: { query: { q: "cloud=>80" } } });
expect(refused.error?.position === 6, refused);
