// What a client does, by the types that openapi-typescript makes of the OpenAPI document.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

const api = createClient<paths>({
  baseUrl: process.env.BASE_URL,
  headers: { Authorization: `Bearer ${process.env.TOKEN}` },
});

const newUser = (name: string): components["schemas"]["UserCreate"] => ({
  name,
  email: `${randomUUID()}@example.com`,
});

// Create; a retry with the same key creates nothing.
const key = { "Idempotency-Key": randomUUID() };
const body = newUser("Ada Lovelace");
const created = await api.POST("/users", { body, params: { header: key } });
assert.equal(created.response.status, 201);
assert(created.data);
const ada = created.data;
const again = await api.POST("/users", { body, params: { header: key } });
assert.deepEqual(again.data, ada);
assert.equal(created.response.headers.get("Location"), `/users/${ada.id}`);

// Page by `next`.
const ids: number[] = [];
let page = await api.GET("/users", { params: { query: { limit: 1 } } });
while (page.data) {
  ids.push(...page.data.data.map((user) => user.id));
  if (page.data.next === null) break;
  const cursor = new URL(page.data.next, "http://api").searchParams.get("cursor");
  assert(cursor);
  page = await api.GET("/users", { params: { query: { limit: 1, cursor } } });
}
assert(ids.includes(ada.id));
assert.equal(new Set(ids).size, ids.length);

// Search.
const found = await api.GET("/users/search", { params: { query: { name: "lovelace" } } });
assert(found.data?.data.some((user) => user.id === ada.id));

// Change it only as it is known: of two changes with one ETag the second is rejected.
const path = { user_id: ada.id };
const read = await api.GET("/users/{user_id}", { params: { path } });
const etag = read.response.headers.get("ETag");
assert(etag);
const header = { "If-Match": etag };
const change = { params: { path, header }, body: { name: "Ada King" } };
const first = await api.PATCH("/users/{user_id}", change);
assert.equal(first.data?.name, "Ada King");
const second = await api.PATCH("/users/{user_id}", change);
assert.equal(second.response.status, 412);
assert.equal(second.error && "type" in second.error && second.error.type, "/problems#precondition-failed");

// A conflict explains itself.
const taken = await api.POST("/users", { body });
assert.equal(taken.response.status, 409);
assert.equal(taken.error && "detail" in taken.error && taken.error.detail, "email: another user has this address.");

const deleted = await api.DELETE("/users/{user_id}", { params: { path } });
assert.equal(deleted.response.status, 204);
assert.equal((await api.GET("/users/{user_id}", { params: { path } })).response.status, 404);
console.log("the scenario passed");
