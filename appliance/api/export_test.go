package api

import "time"

// SetBodyTime sets how long a body may take, so that tests need not wait.
func (a *API) SetBodyTime(d time.Duration) { a.bodyTime = d }

// Routes lets tests of other packages walk over the table.
func Routes() (out []Route) {
	for _, r := range routes {
		out = append(out, Route{r.method, r.path, string(r.need), r.audit})
	}
	return out
}

// Route is a row of the table of routes.
type Route struct{ Method, Path, Need, Audit string }
