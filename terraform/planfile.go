package terraform

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// StateHead is what a plan file says about the state it was made from.
type StateHead struct {
	Version string // of the Terraform that made the plan
	Lineage string // empty when there was no state yet
	Serial  int64
}

// maxStateHead bounds how much of a state is read to find its head, in bytes: the head comes first.
const maxStateHead = 1 << 20

// ReadStateHead reads the state's lineage and serial from a plan file, where they are in member "tfstate".
// The JSON of a plan lacks them.
func ReadStateHead(planFile string) (head StateHead, err error) {
	archive, err := zip.OpenReader(planFile)
	if err != nil {
		return StateHead{}, fmt.Errorf("open plan file: %w", err)
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	member, err := archive.Open("tfstate")
	if err != nil {
		return StateHead{}, fmt.Errorf("find the state in the plan file: %w", err)
	}
	defer func() { err = errors.Join(err, member.Close()) }()
	return decodeStateHead(io.LimitReader(member, maxStateHead))
}

// DecodeStateHead reads lineage and serial of a state, of which it reads no more than it needs.
func DecodeStateHead(state io.Reader) (StateHead, error) {
	return decodeStateHead(io.LimitReader(state, maxStateHead))
}

// decodeStateHead reads top-level members until it has all it needs.
func decodeStateHead(r io.Reader) (StateHead, error) {
	var head StateHead
	wanted := map[string]any{"terraform_version": &head.Version, "lineage": &head.Lineage, "serial": &head.Serial}
	decoder := json.NewDecoder(r)
	if _, err := decoder.Token(); err != nil {
		return StateHead{}, fmt.Errorf("read state: %w", err)
	}
	for decoder.More() && len(wanted) > 0 {
		key, err := decoder.Token()
		if err != nil {
			return StateHead{}, fmt.Errorf("read state: %w", err)
		}
		name, _ := key.(string)
		var value any = new(json.RawMessage)
		if field, ok := wanted[name]; ok {
			value = field
			delete(wanted, name)
		}
		if err := decoder.Decode(value); err != nil {
			return StateHead{}, fmt.Errorf("read %s of the state: %w", name, err)
		}
	}
	return head, nil
}
