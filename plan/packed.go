package plan

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// Bounds of what is held of packed changes, beside the packed bytes.
const (
	blockSize   = 128 << 10 // bytes that are compressed together
	openBlocks  = 16        // blocks that are held uncompressed while changes are taken out
	sharedPaths = 100_000   // paths of attributes that are stored once; others are stored where they occur
)

// packed holds the changes of one plan compressed. A plan that makes everything anew has millions of attributes, each of
// which takes more room as a Go value than its text does; packed, they take about a twentieth. Changes are added first and
// taken out after seal.
type packed struct {
	objects []object // that each change is about
	slots   []slot
	blocks  [][]byte // compressed
	paths   []string
	known   map[string]uint64 // place in paths, and one
	open    []byte            // the block that is being filled
	flate   *flate.Writer
	out     unpacker // of find
}

func (o object) compare(other object) int {
	return cmp.Or(cmp.Compare(o.address, other.address), cmp.Compare(o.deposed, other.deposed))
}

// slot is where one change is.
type slot struct{ block, from, to int }

func newPacked() *packed { return &packed{known: map[string]uint64{}} }

func (p *packed) add(change operation.Change) error {
	from := len(p.open)
	p.write(change)
	p.objects = append(p.objects, objectOf(change))
	p.slots = append(p.slots, slot{len(p.blocks), from, len(p.open)})
	if len(p.open) < blockSize {
		return nil
	}
	return p.compress()
}

// seal ends the adding.
func (p *packed) seal() error {
	if err := p.compress(); err != nil {
		return err
	}
	p.open, p.flate, p.known = nil, nil, nil
	return nil
}

func (p *packed) compress() (err error) {
	var block bytes.Buffer
	if p.flate == nil {
		p.flate, err = flate.NewWriter(&block, flate.BestSpeed)
	} else {
		p.flate.Reset(&block)
	}
	if err != nil {
		return fmt.Errorf("compress changes: %w", err)
	}
	_, err = p.flate.Write(p.open)
	if err := errors.Join(err, p.flate.Close()); err != nil {
		return fmt.Errorf("compress changes: %w", err)
	}
	p.blocks = append(p.blocks, bytes.Clone(block.Bytes()))
	p.open = p.open[:0]
	return nil
}

// order lists the places of the changes in the order of their objects.
func (p *packed) order() []int {
	order := make([]int, len(p.objects))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return p.objects[a].compare(p.objects[b]) })
	return order
}

// The flags of an attribute.
const (
	flagUnknown = 1 << iota
	flagSensitive
	flagVolatile
)

// write appends a change to the open block, without its cause.
func (p *packed) write(change operation.Change) {
	for _, field := range []string{
		change.Address, change.PreviousAddress, string(change.Action), change.ActionReason, change.ImportID, change.Deposed,
	} {
		p.field(field)
	}
	p.number(uint64(len(change.ReplacePaths)))
	for _, path := range change.ReplacePaths {
		p.field(path)
	}
	p.number(uint64(len(change.Attributes)))
	for _, attribute := range change.Attributes {
		p.path(attribute.Path)
		flags := uint64(0)
		if attribute.Unknown {
			flags |= flagUnknown
		}
		if attribute.Sensitive {
			flags |= flagSensitive
		}
		if attribute.Volatile {
			flags |= flagVolatile
		}
		p.number(flags)
		p.number(uint64(len(attribute.Before)))
		p.open = append(p.open, attribute.Before...)
		p.number(uint64(len(attribute.After)))
		p.open = append(p.open, attribute.After...)
	}
}

func (p *packed) number(n uint64) { p.open = binary.AppendUvarint(p.open, n) }

func (p *packed) field(text string) {
	p.number(uint64(len(text)))
	p.open = append(p.open, text...)
}

// path writes the number of a path, or 0 and the path itself.
func (p *packed) path(path string) {
	number, known := p.known[path]
	if !known && len(p.paths) < sharedPaths {
		path = strings.Clone(path)
		p.paths = append(p.paths, path)
		number, known = uint64(len(p.paths)), true
		p.known[path] = number
	}
	p.number(number)
	if !known {
		p.field(path)
	}
}

// each calls use for the changes of one object after another, in the order of objects. use may alter them, and keep them,
// but not the slice that they come in.
func (p *packed) each(use func([]operation.Change) error) error {
	from := unpacker{from: p}
	var same []operation.Change
	order := p.order()
	for i, at := range order {
		change, err := from.change(at)
		if err != nil {
			return err
		}
		same = append(same, change)
		if i+1 < len(order) && p.objects[order[i+1]] == p.objects[at] {
			continue
		}
		if err := use(same); err != nil {
			return err
		}
		same = same[:0]
	}
	return nil
}

// find gives the changes of one object. They must have been added in the order of objects.
func (p *packed) find(wanted object) ([]operation.Change, error) {
	at, _ := slices.BinarySearchFunc(p.objects, wanted, object.compare)
	var found []operation.Change
	for ; at < len(p.objects) && p.objects[at] == wanted; at++ {
		p.out.from = p
		change, err := p.out.change(at)
		if err != nil {
			return nil, err
		}
		found = append(found, change)
	}
	return found, nil
}

// unpacker takes changes out of packed ones; fastest in about the order in which they were added.
type unpacker struct {
	from   *packed
	opened []openBlock // the latest first
	flate  io.ReadCloser
}

type openBlock struct {
	block int
	bytes []byte
}

func (u *unpacker) change(i int) (operation.Change, error) {
	at := u.from.slots[i]
	block, err := u.block(at.block)
	if err != nil {
		return operation.Change{}, fmt.Errorf("take out a change: %w", err)
	}
	if at.to > len(block) {
		return operation.Change{}, fmt.Errorf("take out a change: %w", io.ErrUnexpectedEOF)
	}
	r := record{rest: bytes.Clone(block[at.from:at.to]), paths: u.from.paths}
	change := r.change()
	if r.err != nil {
		return operation.Change{}, fmt.Errorf("take out a change: %w", r.err)
	}
	return change, nil
}

// block gives an uncompressed block.
func (u *unpacker) block(number int) ([]byte, error) {
	at := slices.IndexFunc(u.opened, func(b openBlock) bool { return b.block == number })
	if at < 0 {
		var space []byte
		if at = len(u.opened); at < openBlocks {
			u.opened = append(u.opened, openBlock{})
		} else {
			at--
			space = u.opened[at].bytes[:0]
		}
		opened, err := u.decompress(u.from.blocks[number], space)
		if err != nil {
			return nil, err
		}
		u.opened[at] = openBlock{number, opened}
	}
	latest := u.opened[at]
	copy(u.opened[1:at+1], u.opened[:at])
	u.opened[0] = latest
	return latest.bytes, nil
}

func (u *unpacker) decompress(block, into []byte) ([]byte, error) {
	from := bytes.NewReader(block)
	if u.flate == nil {
		u.flate = flate.NewReader(from)
	} else if again, ok := u.flate.(flate.Resetter); ok {
		if err := again.Reset(from, nil); err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
	}
	out := bytes.NewBuffer(into)
	if _, err := out.ReadFrom(u.flate); err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out.Bytes(), nil
}

// record reads one change; the first error ends it.
type record struct {
	rest  []byte
	paths []string
	err   error
}

var errRecord = errors.New("a packed change is damaged")

func (r *record) change() operation.Change {
	change := operation.Change{
		Address: r.field(), PreviousAddress: r.field(), Action: operation.Action(r.field()), ActionReason: r.field(),
		ImportID: r.field(), Deposed: r.field(),
	}
	for n := r.number(); n > 0 && r.err == nil; n-- {
		change.ReplacePaths = append(change.ReplacePaths, r.field())
	}
	if n := r.number(); n > 0 && r.err == nil {
		change.Attributes = make([]operation.Attribute, 0, min(n, uint64(len(r.rest))))
		for ; n > 0 && r.err == nil; n-- {
			change.Attributes = append(change.Attributes, r.attribute())
		}
	}
	return change
}

func (r *record) attribute() operation.Attribute {
	attribute := operation.Attribute{Path: r.path()}
	flags := r.number()
	attribute.Unknown, attribute.Sensitive, attribute.Volatile = flags&flagUnknown != 0, flags&flagSensitive != 0, flags&flagVolatile != 0
	attribute.Before, attribute.After = r.value(), r.value()
	return attribute
}

func (r *record) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.err = errRecord
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *record) field() string { return string(r.value()) }

// value gives bytes of the record itself; nil where there are none.
func (r *record) value() json.RawMessage {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.err = errRecord
	}
	if n == 0 || r.err != nil {
		return nil
	}
	value := r.rest[:n:n]
	r.rest = r.rest[n:]
	return value
}

func (r *record) path() string {
	switch number := r.number(); {
	case number == 0:
		return r.field()
	case number > uint64(len(r.paths)):
		r.err = errRecord
		return ""
	default:
		return r.paths[number-1]
	}
}

// kept collects, of changes that come in order, those that Cap keeps; all where limit is 0.
type kept struct {
	limit    int
	byWeight [][]operation.Change
	held     int
	left     int // how many were left out
}

func (k *kept) add(change operation.Change) {
	at := weight(change)
	for len(k.byWeight) <= at {
		k.byWeight = append(k.byWeight, nil)
	}
	k.byWeight[at] = append(k.byWeight[at], change)
	if k.held++; k.limit == 0 || k.held <= k.limit {
		return
	}
	for at = len(k.byWeight) - 1; len(k.byWeight[at]) == 0; at-- {
	}
	last := len(k.byWeight[at]) - 1
	k.byWeight[at][last] = operation.Change{} // what it refers to can be collected
	k.byWeight[at] = k.byWeight[at][:last]
	k.held--
	k.left++
}

func (k *kept) changes() []operation.Change {
	all := slices.Concat(k.byWeight...)
	sortChanges(all)
	return all
}

// each calls use for the changes of each object of a plan, in their order.
func (p Plan) each(use func([]operation.Change) error) error {
	if p.all != nil {
		return p.all.each(use)
	}
	left := p.Set.Changes
	for len(left) > 0 {
		same := 1
		for same < len(left) && objectOf(left[same]) == objectOf(left[0]) {
			same++
		}
		if err := use(left[:same]); err != nil {
			return err
		}
		left = left[same:]
	}
	return nil
}

// find gives the changes of one object.
func (p Plan) find(wanted object) ([]operation.Change, error) {
	if p.all == nil {
		from, _ := slices.BinarySearchFunc(p.Set.Changes, wanted, func(c operation.Change, o object) int { return objectOf(c).compare(o) })
		to := from
		for to < len(p.Set.Changes) && objectOf(p.Set.Changes[to]) == wanted {
			to++
		}
		return p.Set.Changes[from:to], nil
	}
	return p.all.find(wanted)
}
