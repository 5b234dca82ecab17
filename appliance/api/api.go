// Package api serves what ringside knows over HTTP: JSON, exports, live events,
// downloads. Its contract is openapi.json; docs/api.md is the manual.
//
// A request passes the middleware (middleware.go), finds its row in the one table
// of routes (routes.go), which says who may call it and what is written into the
// audit log, and then its handler. Handlers read records from the store and ask
// the running appliance through the interfaces of sources.go.
//
// What comes from the network is hostile, and so is what it left in the
// records: nothing of either becomes a file name, a header, a path or markup.
package api
