package statelock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/switchyard-dev/switchyard/operation"
)

// Bounds of what is read of a state.
const (
	maxState   = 256 << 20 // bytes
	maxTainted = 50        // addresses that are told
)

var (
	errTooLarge = errors.New("it is too large to be read here")
	errNoState  = errors.New("it cannot be read as a state")
)

// summary is what is told of a state. Nothing of it is a value that somebody might have meant to hide.
type summary struct {
	lineage   string
	serial    int64
	instances int
	tainted   []string // sorted, capped
	more      int      // that the cap left out
	encrypted bool     // by OpenTofu: instances are not known
}

// resource is one entry of the list of resources.
// https://developer.hashicorp.com/terraform/language/state#format: its format is stable enough that Terraform reads all earlier ones.
type resource struct {
	Module    string `json:"module"`
	Mode      string `json:"mode"`
	Type      string `json:"type"`
	Name      string `json:"name"`
	Instances []struct {
		Index   any    `json:"index_key"`
		Status  string `json:"status"`
		Deposed string `json:"deposed"`
	} `json:"instances"`
}

// summarise reads a state, one resource at a time. Where head is set it stops when it has serial and lineage.
func summarise(from io.Reader, head bool) (summary, error) {
	return summariseUpTo(maxState, from, head)
}

func summariseUpTo(most int64, from io.Reader, head bool) (summary, error) {
	limited := &io.LimitedReader{R: from, N: most + 1}
	decoder := json.NewDecoder(limited)
	s, err := decode(decoder, head)
	switch {
	case err == nil && s.lineage == "":
		return summary{}, errNoState
	case err == nil:
		slices.Sort(s.tainted)
		s.more = max(0, len(s.tainted)-maxTainted)
		s.tainted = s.tainted[:len(s.tainted)-s.more]
		return s, nil
	case limited.N <= 0:
		return summary{}, errTooLarge
	case errors.As(err, new(*json.SyntaxError)), errors.As(err, new(*json.UnmarshalTypeError)), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errNoState):
		return summary{}, errNoState
	default:
		return summary{}, err
	}
}

func decode(decoder *json.Decoder, head bool) (s summary, err error) {
	if err := open(decoder, '{'); err != nil {
		return s, err
	}
	serial := false
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return s, err //nolint:wrapcheck // summarise names it
		}
		switch key {
		case "lineage":
			err = decoder.Decode(&s.lineage)
		case "serial":
			err, serial = decoder.Decode(&s.serial), true
		case "resources":
			err = s.resources(decoder)
		case "encrypted_data":
			s.encrypted, err = true, decoder.Decode(new(json.RawMessage))
		default:
			err = decoder.Decode(new(json.RawMessage))
		}
		if err != nil {
			return s, err //nolint:wrapcheck // as above
		}
		if head && serial && s.lineage != "" {
			break
		}
	}
	s.lineage = clip(s.lineage)
	if s.serial < 0 {
		return s, errNoState
	}
	return s, nil
}

func open(decoder *json.Decoder, delimiter json.Delim) error {
	token, err := decoder.Token()
	if err == nil && token != delimiter {
		return errNoState
	}
	return err //nolint:wrapcheck // summarise names it
}

func (s *summary) resources(decoder *json.Decoder) error {
	if err := open(decoder, '['); err != nil {
		return err
	}
	for decoder.More() {
		var one resource
		if err := decoder.Decode(&one); err != nil {
			return err //nolint:wrapcheck // summarise names it
		}
		if one.Mode != "managed" {
			continue
		}
		for _, instance := range one.Instances {
			s.instances++
			if instance.Status == "tainted" && instance.Deposed == "" {
				s.tainted = append(s.tainted, clip(address(one, instance.Index)))
			}
		}
	}
	_, err := decoder.Token()
	return err //nolint:wrapcheck // summarise names it
}

// address is how Terraform writes the address of an instance.
// https://developer.hashicorp.com/terraform/cli/state/resource-addressing
func address(of resource, index any) string {
	text := of.Type + "." + of.Name
	if of.Module != "" {
		text = of.Module + "." + text
	}
	switch key := index.(type) {
	case string:
		text += "[" + strconv.Quote(key) + "]"
	case float64:
		text += "[" + strconv.FormatFloat(key, 'f', -1, 64) + "]"
	}
	return text
}

// fill notes a state that was read, or why it was not.
func fill(found *operation.StateLock, s summary, err error) {
	if err != nil {
		found.Notes = append(found.Notes, fmt.Sprintf("What is in the state is not known: %v.", err))
		return
	}
	found.Lineage, found.Serial, found.Resources, found.Tainted = s.lineage, s.serial, s.instances, s.tainted
	if s.more > 0 {
		found.Notes = append(found.Notes, fmt.Sprintf("%d more instances are tainted.", s.more))
	}
	if s.encrypted {
		found.Notes = append(found.Notes, "The state is encrypted: how many instances it has, and which are tainted, is not known.")
	}
}

// Compare says whether Terraform would take a state that an apply could not save: whether it is of the same lineage as the one that is
// there and later. next has the commands for that.
func Compare(found operation.StateLock, errored *operation.ErroredState, next string) {
	errored.Fits, errored.Why, errored.Next = false, "", ""
	switch {
	case errored.Lineage == "":
		errored.Why = "It cannot be read as a state."
	case found.Missing != "" || found.Size == 0:
		errored.Fits = true
	case found.Lineage == "":
		errored.Why = "The state that is there could not be read, so it is not known whether this one is later."
	case found.Lineage != errored.Lineage:
		errored.Why = "It is of another lineage than the state that is there."
	case found.Serial >= errored.Serial:
		errored.Why = fmt.Sprintf("The state that is there has serial %d and this one %d: that was written later, so compare the two by hand.",
			found.Serial, errored.Serial)
	default:
		errored.Fits = true
	}
	if errored.Fits {
		errored.Next = next
	}
}

// Unsaved reads a file in which Terraform has left a state that it could not save, and compares it with the state that is there; not ok
// where there is none. next has the commands that bring it back.
func Unsaved(name string, found operation.StateLock, next string) (errored operation.ErroredState, ok bool) {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return errored, false
	}
	file, err := os.Open(name) //nolint:gosec // the caller's
	if err != nil {
		return errored, false
	}
	defer func() { _ = file.Close() }() // opened for reading
	errored = operation.ErroredState{Place: name, Modified: info.ModTime().UTC()}
	if read, err := summarise(file, true); err == nil {
		errored.Lineage, errored.Serial = read.lineage, read.serial
	}
	Compare(found, &errored, next)
	return errored, true
}
