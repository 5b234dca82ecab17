package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"ringside/appliance/auth"
	"ringside/writer/store"
)

// code is a stable name of what went wrong, with its status and title. docs/api.md
// has the list, which a test compares.
type code struct {
	name   string
	status int
	title  string
}

var (
	codeParameter  = code{"bad-parameter", 400, "a parameter is wrong"}
	codeFilter     = code{"bad-filter", 400, "the filter expression is wrong"}
	codeCursor     = code{"bad-cursor", 400, "the cursor does not fit the query"}
	codeBody       = code{"bad-body", 400, "the body of the request is wrong"}
	codeNoLogin    = code{"not-logged-in", 401, "nobody is logged in"}
	codeExpired    = code{"session-expired", 401, "the session has ended"}
	codeToken      = code{"bad-token", 401, "the API token is not valid"}
	codeWrong      = code{"wrong-credentials", 401, "name or password is wrong"}
	codeForbidden  = code{"forbidden", 403, "a permission is missing"}
	codeMustChange = code{"must-change-password", 403, "the password must be changed first"}
	codeOrigin     = code{"cross-origin", 403, "the request comes from another site"}
	codeNotFound   = code{"not-found", 404, "there is no such thing"}
	codeNotStored  = code{"not-stored", 404, "its packets are not in the spool"}
	codeMethod     = code{"method-not-allowed", 405, "this cannot be done here"}
	codeAccept     = code{"not-acceptable", 406, "it does not come in this form"}
	codeConflict   = code{"conflict", 409, "it does not fit what is there"}
	codeTooLarge   = code{"too-large", 413, "it is too large"}
	codeMedia      = code{"unsupported-media-type", 415, "the body is of a wrong type"}
	codeInvalid    = code{"invalid", 422, "a value is refused"}
	codeUnplayable = code{"not-playable", 422, "it cannot be heard"}
	codeRate       = code{"rate-limited", 429, "too many requests"}
	codeLocked     = code{"locked", 429, "too many attempts to log in"}
	codeInternal   = code{"internal", 500, "something is wrong here"}
	codeMissing    = code{"not-available", 501, "this appliance does not have it"}
	codeBusy       = code{"busy", 503, "too much is going on already"}
	codeStoreAway  = code{"store-away", 503, "the database does not answer"}
	codeTimeout    = code{"timeout", 504, "it took too long"}
)

// codes are all of them.
var codes = []code{codeParameter, codeFilter, codeCursor, codeBody, codeNoLogin, codeExpired, codeToken, codeWrong, codeForbidden,
	codeMustChange, codeOrigin, codeNotFound, codeNotStored, codeMethod, codeAccept, codeConflict, codeTooLarge, codeMedia, codeInvalid,
	codeUnplayable, codeRate, codeLocked, codeInternal, codeMissing, codeBusy, codeStoreAway, codeTimeout}

// failure is an error with its code.
type failure struct {
	code
	detail string
	after  time.Duration // when it may be tried again; 0: not said
	errors []FilterError
}

func (f *failure) Error() string { return f.title + ": " + f.detail }

func fail(c code, format string, args ...any) error {
	return &failure{code: c, detail: fmt.Sprintf(format, args...)}
}

// errGone is that nobody reads the answer any more.
var errGone = errors.New("the client has gone")

// failureOf finds the code of an error. What it does not know is internal, and
// its text is for the log only.
func failureOf(err error) *failure {
	var f *failure
	var query *QueryError
	var denied *auth.DeniedError
	var invalid *auth.InvalidError
	var locked *auth.LockedError
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &query):
		return &failure{code: codeFilter, detail: query.Error(), errors: []FilterError{FilterError(*query)}}
	case errors.As(err, &denied):
		return &failure{code: codeForbidden, detail: denied.Error()}
	case errors.As(err, &invalid):
		return &failure{code: codeInvalid, detail: invalid.Error()}
	case errors.As(err, &locked):
		return &failure{code: codeLocked, detail: locked.Error(), after: locked.After}
	case errors.As(err, &size):
		return &failure{code: codeTooLarge, detail: fmt.Sprintf("the body has more than %d bytes", size.Limit)}
	}
	for _, k := range []struct {
		is error
		code
	}{
		{auth.ErrNoLogin, codeNoLogin}, {auth.ErrExpired, codeExpired}, {auth.ErrToken, codeToken}, {auth.ErrCredentials, codeWrong},
		{auth.ErrMustChange, codeMustChange}, {auth.ErrSetup, codeWrong}, {auth.ErrSetupDone, codeConflict}, {auth.ErrNotFound, codeNotFound},
		{auth.ErrExists, codeConflict}, {auth.ErrLastAdmin, codeConflict}, {auth.ErrSession, codeForbidden}, {auth.ErrCrossOrigin, codeOrigin},
		{store.ErrNotFound, codeNotFound}, {store.ErrCursor, codeCursor}, {store.ErrSlow, codeTimeout}, {store.ErrQuery, codeParameter},
		{store.ErrNote, codeInvalid}, {store.ErrReadOnly, codeMissing},
		{ErrNotStored, codeNotStored}, {ErrNotPlayable, codeUnplayable}, {ErrTooLarge, codeTooLarge},
	} {
		if errors.Is(err, k.is) {
			return &failure{code: k.code, detail: err.Error()}
		}
	}
	switch {
	case errors.Is(err, ErrBusy), errors.Is(err, auth.ErrBusy):
		return &failure{code: codeBusy, detail: err.Error(), after: 2 * time.Second}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: codeTimeout, detail: "ask for less: a shorter time, or a condition more"}
	case store.Away(err):
		return &failure{code: codeStoreAway, detail: "calls are kept meanwhile, if there is a queue; try again", after: 5 * time.Second}
	}
	return &failure{code: codeInternal, detail: "the log has the reason, with the id of this request"}
}

// writeProblem answers with an error, if nothing has been written yet.
func writeProblem(w http.ResponseWriter, f *failure, id string) {
	h := w.Header()
	for _, k := range []string{"Content-Disposition", "Content-Encoding", "Content-Length", "ETag"} {
		h.Del(k)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if f.after > 0 {
		h.Set("Retry-After", strconv.Itoa(int((f.after+time.Second-1)/time.Second)))
	}
	if f.status == 401 {
		h.Set("WWW-Authenticate", `Bearer realm="ringside"`)
	}
	body, err := json.Marshal(Problem{
		Type: "about:blank#" + f.name, Title: f.title, Status: f.status, Code: f.name, Detail: f.detail, ID: id, Errors: f.errors,
	})
	if err != nil {
		body = []byte("{}") // texts and numbers can always be written
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	w.Write(body)
}
