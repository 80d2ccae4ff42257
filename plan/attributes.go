package plan

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/switchyard-dev/switchyard/operation"
)

// maxValue is how long one value may be, in bytes of JSON. A longer one is kept as its length and
// digest: still comparable, and small enough for a result.
const maxValue = 16 << 10

// shortValue is how long most texts are at most, in bytes: those that are the same in JSON are written without its encoder.
const shortValue = 256

// identifier is a name that can be written without quotes in a path.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// outputAttribute is the value of an output, undivided.
func outputAttribute(change *tfjson.Change, checkout checkout) ([]operation.Attribute, error) {
	before, after := sides(change)
	f := flattener{checkout: checkout, secrets: newSecrets()}
	at := place{path: "value", depth: 1}
	switch {
	case marked(before.sensitive) || marked(after.sensitive):
		f.found = []operation.Attribute{{Path: at.path, Sensitive: true, Unknown: marked(change.AfterUnknown)}}
	case marked(change.AfterUnknown):
		f.unknown(at, before)
	default:
		f.leaf(at, before, after)
	}
	return f.found, f.err
}

// side is one value before or after the change.
type side struct {
	value     any
	present   bool // there is such a key or element; its value may still be null
	sensitive any  // mask: true, false, or the structure of value with these at its leaves
}

// sides are the two values of a change.
func sides(change *tfjson.Change) (side, side) {
	return side{value: change.Before, present: change.Before != nil, sensitive: change.BeforeSensitive},
		side{value: change.After, present: change.After != nil, sensitive: change.AfterSensitive}
}

// null reports whether there is no value.
func (s side) null() bool { return s.value == nil }

// place is where in an object the walk is.
type place struct {
	path     string
	depth    int  // 0 is the object itself
	ofIndex  bool // the last step was an index
	explicit bool // null and absent differ here: below an attribute, where a map may hold a null
}

// flattener walks over both sides of a change at once.
type flattener struct {
	checkout checkout
	secrets  secrets         // of this object, however short
	asked    map[string]bool // paths whose value is wanted although it does not change
	found    []operation.Attribute
	stands   map[string]text // of asked
	err      error
}

// attributes lists what changes between before and after of one object, by path.
func (f *flattener) attributes(change *tfjson.Change) ([]operation.Attribute, error) {
	before, after := sides(change)
	f.walk(place{}, before, after, change.AfterUnknown)
	if f.err != nil {
		return nil, f.err
	}
	slices.SortFunc(f.found, func(a, b operation.Attribute) int { // two keys may be one with the placeholder
		return cmp.Or(strings.Compare(a.Path, b.Path), bytes.Compare(a.Before, b.Before), bytes.Compare(a.After, b.After))
	})
	return slices.Clip(slices.Clone(f.found)), nil
}

// walk compares the values at one place. A sensitive value is compared but never kept; a mask that
// does not fit the shape of its value covers all of it.
func (f *flattener) walk(at place, before, after side, unknown any) {
	switch {
	case at.depth > 0 && (hides(before) || hides(after)):
		f.sensitive(at, before, after, unknown)
	case isTrue(unknown) || marked(unknown) && !fits(unknown, after.value):
		f.unknown(at, before)
	case isObject(before.value, after.value):
		f.object(at, before, after, unknown)
	case isList(before.value, after.value):
		f.list(at, before, after, unknown)
	default:
		f.leaf(at, before, after)
	}
}

func (f *flattener) object(at place, before, after side, unknown any) {
	old, _ := before.value.(map[string]any)
	next, _ := after.value.(map[string]any)
	mask, _ := unknown.(map[string]any)
	keys := map[string]bool{}
	for _, object := range []map[string]any{old, next, mask} { // after lacks what is unknown: the mask has it
		for key := range object {
			keys[key] = true
		}
	}
	if f.empty(at, before, after, len(keys), len(next)+len(mask)) {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		oldValue, wasThere := old[key]
		nextValue, isThere := next[key]
		f.walk(at.key(f.checkout.placed(key)),
			side{value: oldValue, present: wasThere, sensitive: maskKey(before.sensitive, key)},
			side{value: nextValue, present: isThere, sensitive: maskKey(after.sensitive, key)},
			maskKey(unknown, key))
	}
}

func (f *flattener) list(at place, before, after side, unknown any) {
	old, _ := before.value.([]any)
	next, _ := after.value.([]any)
	mask, _ := unknown.([]any)
	length := max(len(old), len(next), len(mask))
	if f.empty(at, before, after, length, len(next)+len(mask)) {
		return
	}
	for i := range length {
		f.walk(at.index(i), element(old, i, before.sensitive), element(next, i, after.sensitive), maskIndex(unknown, i))
	}
}

// empty handles containers without elements; true when there is nothing below to look at. One that
// becomes empty, or null in a map, is said, so that it differs from one that goes away.
func (f *flattener) empty(at place, before, after side, elements, left int) bool {
	if at.depth == 0 {
		return elements == 0
	}
	if elements == 0 {
		f.leaf(at, before, after)
		return true
	}
	gone := after.null() && (!at.explicit || !after.present)
	if left == 0 && !gone && !before.null() {
		f.add(operation.Attribute{Path: at.path, After: f.text(after.value)})
	}
	return false
}

// leaf compares two values as wholes.
func (f *flattener) leaf(at place, before, after side) {
	if marked(before.sensitive) || marked(after.sensitive) || f.secrets.in(before.value) || f.secrets.in(after.value) {
		f.sensitive(at, before, after, nil)
		return
	}
	hadValue, hasValue := !before.null(), !after.null()
	if at.explicit {
		hadValue, hasValue = before.present, after.present
	}
	if hadValue == hasValue && reflect.DeepEqual(before.value, after.value) {
		f.unchanged(at, hasValue, after.value)
		return
	}
	attribute := operation.Attribute{Path: at.path}
	if hadValue {
		attribute.Before = f.text(before.value)
	}
	if hasValue {
		attribute.After = f.text(after.value)
	}
	if hadValue == hasValue && bytes.Equal(attribute.Before, attribute.After) {
		return // only the path of the checkout is another
	}
	f.add(attribute)
}

// unknown notes a value that only the apply will tell.
func (f *flattener) unknown(at place, before side) {
	attribute := operation.Attribute{Path: at.path, Unknown: true}
	switch {
	case marked(before.sensitive) || f.secrets.in(before.value):
		attribute.Sensitive = true
	case !before.null():
		attribute.Before = f.text(before.value)
	}
	f.add(attribute)
}

// sensitive notes that a value changes, or that it is no longer or newly sensitive.
func (f *flattener) sensitive(at place, before, after side, unknown any) {
	notKnown := marked(unknown)
	remarked := hides(before) != hides(after) && !before.null() && !after.null()
	if notKnown || remarked || !reflect.DeepEqual(before.value, after.value) {
		f.add(operation.Attribute{Path: at.path, Sensitive: true, Unknown: notKnown})
	}
}

// unchanged notes a value that was asked for.
func (f *flattener) unchanged(at place, present bool, value any) {
	switch {
	case !f.asked[at.path]:
	case present:
		f.stands[at.path] = text(f.text(value))
	default:
		f.stands[at.path] = ""
	}
}

func (f *flattener) add(attribute operation.Attribute) {
	f.found = append(f.found, attribute)
}

// text is a value as compact JSON, or its length and digest where that is too long.
func (f *flattener) text(value any) json.RawMessage {
	if text, ok := value.(string); ok && len(text) < shortValue {
		if text = f.checkout.placed(text); plain(text) {
			raw := make(json.RawMessage, 0, len(text)+2) //nolint:mnd // two quotes
			return append(append(append(raw, '"'), text...), '"')
		}
	}
	text, err := marshal(f.checkout.placedIn(value))
	if err != nil {
		f.err = fmt.Errorf("write value: %w", err)
		return nil
	}
	if len(text) <= maxValue {
		return text
	}
	sum := sha256.Sum256(text)
	return json.RawMessage(fmt.Sprintf(`"(%d bytes, sha256 %s)"`, len(text), hex.EncodeToString(sum[:])))
}

// checkout is where plans are made: one directory, and those of other operations beside it. Values in the state have the
// path of the apply that wrote them.
type checkout struct {
	dir    string // "" when it is not known
	beside string // "" when there are no others
}

// placed replaces the paths of checkouts by the placeholder.
func (c checkout) placed(text string) string {
	if c.dir == "" {
		return text
	}
	text = strings.ReplaceAll(text, c.dir, checkoutPlaceholder)
	if c.beside == "" || !strings.Contains(text, c.beside+"/") {
		return text
	}
	var out strings.Builder
	below := "/" + c.dir[strings.LastIndexByte(c.dir, '/')+1:]
	for {
		before, after, found := strings.Cut(text, c.beside+"/")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, rest, _ := strings.Cut(after, below)
		if after == rest || name == "" || strings.ContainsAny(name, "/\" \t\r\n") || len(name)+len(below) > len(after) ||
			rest != "" && identifier.MatchString(rest[:1]) {
			out.WriteString(c.beside + "/")
			text = after
			continue
		}
		out.WriteString(checkoutPlaceholder)
		text = rest
	}
}

func (c checkout) placedIn(value any) any {
	if c.dir == "" {
		return value
	}
	switch value := value.(type) {
	case string:
		return c.placed(value)
	case []any:
		list := make([]any, len(value))
		for i, element := range value {
			list[i] = c.placedIn(element)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(value))
		for key, element := range value {
			object[c.placed(key)] = c.placedIn(element)
		}
		return object
	default:
		return value
	}
}

// key is the place of one key. Below an attribute a key is written in brackets, because a map's keys
// and an object's names look the same in JSON; in an element of a list it is written with a dot.
func (p place) key(key string) place {
	next := place{depth: p.depth + 1, explicit: p.depth > 0}
	switch {
	case p.path == "" && identifier.MatchString(key):
		next.path = key
	case p.ofIndex && identifier.MatchString(key):
		next.path = p.path + "." + key
	default:
		next.path = p.path + "[" + quote(key) + "]"
	}
	return next
}

// index is the place of one element of a list.
func (p place) index(i int) place {
	return place{path: p.path + "[" + strconv.Itoa(i) + "]", depth: p.depth + 1, ofIndex: true, explicit: true}
}

// quote writes a key as a JSON string.
func quote(key string) string {
	text, err := marshal(key)
	if err != nil { // a string can always be written
		return strconv.Quote(key)
	}
	return string(text)
}

// replacePath writes one element of replace_paths as the attributes' paths are written.
func replacePath(path any) string {
	at := place{}
	steps, ok := path.([]any)
	if !ok {
		steps = []any{path}
	}
	for _, step := range steps {
		switch step := step.(type) {
		case string:
			at = at.key(step)
		case json.Number:
			at = place{path: at.path + "[" + step.String() + "]", depth: at.depth + 1, ofIndex: true}
		default:
			at = at.key(fmt.Sprint(step))
		}
	}
	return at.path
}

// element is one element of a list, if it has so many.
func element(list []any, i int, sensitive any) side {
	if i >= len(list) {
		return side{}
	}
	return side{value: list[i], present: true, sensitive: maskIndex(sensitive, i)}
}

// isTrue reports whether a mask covers everything below it. Masks hold booleans only; anything else
// is taken as true, so that nothing is shown by mistake.
func isTrue(mask any) bool {
	switch mask := mask.(type) {
	case nil, map[string]any, []any:
		return false
	case bool:
		return mask
	default:
		return true
	}
}

// marked reports whether a mask covers anything.
func marked(mask any) bool {
	switch mask := mask.(type) {
	case map[string]any:
		for _, part := range mask {
			if marked(part) {
				return true
			}
		}
		return false
	case []any:
		return slices.ContainsFunc(mask, marked)
	default:
		return isTrue(mask)
	}
}

// fits reports whether a mask can be taken apart along with its value.
func fits(mask, value any) bool {
	switch mask.(type) {
	case map[string]any:
		_, ok := value.(map[string]any)
		return ok
	case []any:
		_, ok := value.([]any)
		return ok
	default:
		return true
	}
}

// hides reports whether nothing of a value may be shown.
func hides(s side) bool {
	return isTrue(s.sensitive) || marked(s.sensitive) && !fits(s.sensitive, s.value)
}

// maskKey is the part of a mask for one key.
func maskKey(mask any, key string) any {
	if object, ok := mask.(map[string]any); ok {
		return object[key]
	}
	return isTrue(mask)
}

// maskIndex is the part of a mask for one element. A mask that is too short for its list covers what
// is beyond it when it covers anything.
func maskIndex(mask any, i int) any {
	list, ok := mask.([]any)
	switch {
	case !ok:
		return isTrue(mask)
	case i < len(list):
		return list[i]
	default:
		return marked(list)
	}
}

// isObject reports whether one side is an object and the other one too, or nothing.
func isObject(a, b any) bool {
	_, objectA := a.(map[string]any)
	_, objectB := b.(map[string]any)
	return objectA && objectB || objectA && b == nil || a == nil && objectB
}

// isList reports whether one side is a list and the other one too, or nothing.
func isList(a, b any) bool {
	_, listA := a.([]any)
	_, listB := b.([]any)
	return listA && listB || listA && b == nil || a == nil && listB
}
