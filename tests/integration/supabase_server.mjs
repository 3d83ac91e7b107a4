// What Supabase has before its database, over a real PostgreSQL: @supabase/lite without its command line, which reads a
// schema only once. As PostgREST does, this one reads it again when the database says NOTIFY pgrst.
// node supabase_server.mjs FOLDER_OF_NODE_MODULES PORT POSTGRES_URL PUBLISHABLE_KEY SECRET_KEY JWT_SECRET

import { pathToFileURL } from "node:url";

const [folder, port, url, publishableKey, secretKey, jwtSecret] = process.argv.slice(2);
const load = async (path) => import(pathToFileURL(`${folder}/node_modules/${path}`));
const { App } = await load("@supabase/lite/dist/index.js");
const { createPostgresConnection } = await load("@supabase/lite/dist/db/postgres/PostgresConnection.js");
const { serve } = await load("@hono/node-server/dist/index.mjs");
const postgres = (await load("postgres/src/index.js")).default;

const connection = createPostgresConnection({ url, postgresOptions: { max: 20, onnotice: () => {} } });
const app = new App({
  connection,
  auth: { enabled: true, jwt_secret: jwtSecret, publishable_key: publishableKey, secret_key: secretKey },
  options: { server: { admin: false } },
});
await app.ensureSystemSchema(); // auth.uid() and its kin
await app.init();
const listener = postgres(url, { max: 1, onnotice: () => {} });
await listener.listen("pgrst", () => connection.clearSchemaCache());
serve({ fetch: (request) => app.fetch(request), port: Number(port), hostname: "127.0.0.1" });
