package api

import (
	"bufio"
	"encoding"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Exports: lists as CSV and as lines of JSON, all their pages in one answer.

const (
	mediaCSV    = "text/csv"
	mediaNDJSON = "application/x-ndjson"
)

// callColumns are the columns of the list of calls that have a title. CSV can
// have any scalar of a record by its name, such as caller.domain.
var callColumns = []Column{
	{"start", "Start", "", true}, {"caller.number", "Caller", "", true}, {"called.number", "Called", "", true},
	{"outcome", "Outcome", "", true}, {"last_status", "Status", "", true}, {"last_reason", "Reason", "", false},
	{"duration", "Duration", "ns", true}, {"connected", "Connected", "ns", true}, {"pdd", "Post-dial delay", "ns", true},
	{"mos_min", "MOS", "", true}, {"loss_max", "Loss", "%", true}, {"jitter_max", "Jitter", "ms", true},
	{"codec", "Codec", "", true}, {"flag_names", "Flags", "", true}, {"end_reason", "Ended by", "", false},
	{"hung_up", "Hung up", "", false}, {"caller.addr", "Caller address", "", true}, {"called.addr", "Called address", "", true},
	{"caller.domain", "Caller domain", "", false}, {"called.domain", "Called domain", "", false},
	{"caller.agent", "Caller agent", "", false}, {"called.agent", "Called agent", "", false},
	{"caller.name", "Caller name", "", false}, {"called.name", "Called name", "", false},
	{"transport", "Transport", "", false}, {"sensor", "Sensor", "", false}, {"vlan", "VLAN", "", false},
	{"stream_count", "Streams", "", false}, {"messages_total", "Messages", "", false},
	{"retransmissions", "Retransmissions", "", false}, {"q850_cause", "Q.850", "", false}, {"rule", "Rule", "", false},
	{"call_id", "Call-ID", "", true}, {"id", "Id", "", true},
}

func defaultColumns() (names []string) {
	for _, c := range callColumns {
		if c.Default {
			names = append(names, c.Name)
		}
	}
	return names
}

// export writes a list page by page, up to what the caller may have. Once it has
// begun, an error cuts the connection.
func export[T any](q *request, form, what, columns string, some []string, page func(cursor string) ([]T, string, error)) error {
	var lines lineWriter[T]
	body := bufio.NewWriterSize(q.w, 32<<10)
	switch form {
	case mediaCSV:
		w, err := newCSV[T](body, columns, some)
		if err != nil {
			return err
		}
		lines = w
	default:
		if columns != "" {
			return fail(codeParameter, "columns: only CSV has columns")
		}
		lines = jsonLines[T]{json.NewEncoder(body)}
	}
	items, next, err := page("")
	if err != nil {
		return err
	}
	ext := "ndjson"
	if form == mediaCSV {
		form, ext = mediaCSV+"; charset=utf-8; header=present", "csv"
	}
	q.attach(form, fmt.Sprintf("ringside-%s-%s.%s", what, q.a.o.Now().UTC().Format("20060102-150405"), ext))
	rows := capsOf(q.id).rows
	q.rt.audit = what + ".export"
	if err := q.audited("", cut(q.r.URL.RawQuery, 1000)); err != nil {
		return err
	}
	q.w.Header().Set("X-Row-Limit", strconv.Itoa(rows))
	for {
		for i := range items {
			if rows--; rows < 0 {
				return body.Flush()
			}
			if err := lines.write(&items[i]); err != nil {
				return err
			}
		}
		if next == "" {
			break
		}
		if items, next, err = page(next); err != nil {
			return err
		}
		if err := q.r.Context().Err(); err != nil {
			return err
		}
	}
	if err := lines.flush(); err != nil {
		return err
	}
	return body.Flush()
}

// attach makes the answer a file. The name must be made of what is known to be
// harmless; what is not becomes an underscore all the same.
func (q *request) attach(mediaType, name string) {
	h := q.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", `attachment; filename="`+safeName(name)+`"`)
}

func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, s)
	return strings.TrimLeft(cut(s, 120), ".-")
}

type lineWriter[T any] interface {
	write(*T) error
	flush() error
}

type jsonLines[T any] struct{ enc *json.Encoder }

func (j jsonLines[T]) write(v *T) error { return j.enc.Encode(v) }
func (j jsonLines[T]) flush() error     { return nil }

// csvLines writes the scalars of records.
type csvLines[T any] struct {
	w     *csv.Writer
	cols  []cell
	cells []string
}

// cell is a scalar of a record: its name, and the way to it.
type cell struct {
	name string
	at   [][]int
}

func newCSV[T any](w io.Writer, columns string, some []string) (*csvLines[T], error) {
	all := cellsOf(reflect.TypeFor[T](), "", nil, nil)
	names := some
	if columns != "" {
		names = strings.Split(columns, ",")
	}
	cols := all
	if len(names) > 0 {
		cols = nil
	}
	for _, n := range names {
		i := slices.IndexFunc(all, func(c cell) bool { return c.name == n })
		if i < 0 {
			return nil, fail(codeParameter, "columns: there is no column %q", cut(n, 40))
		}
		cols = append(cols, all[i])
	}
	out := &csvLines[T]{w: csv.NewWriter(w), cols: cols, cells: make([]string, len(cols))}
	for i, c := range cols {
		out.cells[i] = c.name
	}
	return out, out.w.Write(out.cells)
}

// cellsOf lists the scalars of a struct as JSON shows them: of embedded structs
// those that are not hidden, of structs within it with the name of both.
func cellsOf(t reflect.Type, prefix string, way [][]int, out []cell) []cell {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous || hidden(t, f, name) {
			continue
		}
		at := append(slices.Clone(way), f.Index)
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		switch {
		case ft.Kind() == reflect.Struct && !ft.Implements(textMarshaler):
			if f.Type.Kind() == reflect.Struct {
				out = cellsOf(ft, prefix+name+".", at, out)
			}
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() != reflect.String, ft.Kind() == reflect.Array, ft.Kind() == reflect.Map:
		default:
			out = append(out, cell{prefix + name, at})
		}
	}
	return out
}

var textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()

// hidden reports whether a field nearer to the surface has the same name.
func hidden(t reflect.Type, f reflect.StructField, name string) bool {
	for _, o := range reflect.VisibleFields(t) {
		n, _, _ := strings.Cut(o.Tag.Get("json"), ",")
		if n == name && !o.Anonymous && len(o.Index) < len(f.Index) {
			return true
		}
	}
	return false
}

func (c *csvLines[T]) write(v *T) error {
	for i, col := range c.cols {
		at := reflect.ValueOf(v).Elem()
		for _, step := range col.at {
			at = at.FieldByIndex(step)
		}
		c.cells[i] = cellText(col.name, at)
	}
	return c.w.Write(c.cells)
}

func (c *csvLines[T]) flush() error {
	c.w.Flush()
	return c.w.Error()
}

// times are the fields of records that are ns since the epoch. A file that people
// open in a spreadsheet has them as text.
var times = []string{"start", "trying", "ring", "answer", "bye_at", "end", "last", "first", "time", "expires_at"}

// cellText is a value as a cell.
func cellText(name string, v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err != nil || v.Type() == reflect.TypeFor[time.Time]() && v.IsZero() {
			return ""
		}
		return harmless(string(b))
	}
	switch v.Kind() {
	case reflect.Int64, reflect.Int, reflect.Int32, reflect.Int16:
		if slices.Contains(times, name) && v.Kind() == reflect.Int64 {
			if v.Int() == 0 {
				return ""
			}
			return time.Unix(0, v.Int()).UTC().Format("2006-01-02T15:04:05.000000Z")
		}
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, v.Index(i).String())
		}
		return harmless(strings.Join(parts, " "))
	}
	return harmless(v.String())
}

// harmless is a text that no spreadsheet takes for a formula: SIP headers come
// from anybody.
func harmless(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}
