// The REST interface of Upstash Redis, over a real Redis; the package's own launcher binds every address.
// node upstash_server.mjs FOLDER_OF_NODE_MODULES PORT TOKEN REDIS_URL

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, port, token, redisUrl] = process.argv.slice(2);
const find = createRequire(`${folder}/package.json`);
const load = async (name) => import(pathToFileURL(find.resolve(name)));
const { serve } = await load("@hono/node-server");
const { createApp } = await import(
  pathToFileURL(`${folder}/node_modules/@humanwhocodes/upstash-redis-server/dist/index.js`)
);
const app = createApp({ token, redisUrl });
serve({ fetch: app.fetch, port: Number(port), hostname: "127.0.0.1" });
