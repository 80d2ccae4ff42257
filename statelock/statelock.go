// Package statelock speaks to the store that has a target's state, beside Terraform: it says who holds Terraform's lock of it, breaks
// exactly the lock that it is told to, and puts a state that Terraform could not save beside the one that is there. Room runner and the
// command line call it. It takes settings and credentials from where Terraform's own backend takes them and sends them nowhere else,
// never writes to the state itself, and prints nothing.
package statelock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// The types of the backends that this package knows.
const (
	Azurerm = "azurerm" // https://developer.hashicorp.com/terraform/language/backend/azurerm
	HTTP    = "http"    // https://developer.hashicorp.com/terraform/language/backend/http
	Local   = "local"   // https://developer.hashicorp.com/terraform/language/backend/local
)

// ErrExists says that there is a blob of that name already: none is written over.
var ErrExists = errors.New("there is a blob of that name already")

// ErrOther says that the lock is not the one that was meant: nothing was done to it.
var ErrOther = errors.New("the lock is not the one that was explained any more")

// Denied says that the store knows who asks and does not let them.
type Denied struct {
	Doing string // what was refused: "read the state", with the store's own words
	Needs string // what is missing and where it is given: one sentence
}

// Error says both.
func (d *Denied) Error() string { return d.Doing + ". " + d.Needs }

// Lock is the lock of one state.
type Lock interface {
	// Inspect finds out what there is to know about the lock, and about the state that it is of. It changes nothing.
	Inspect(ctx context.Context) (operation.StateLock, error)
	// Break makes the lock free that the task names, and no other: ErrOther. It gives how far it came also with an error, and can be
	// repeated from there.
	Break(ctx context.Context, task operation.LockTask) (operation.Broken, error)
}

// Open finds out how the state of a root is reached. backend is the type and config what `terraform init` noted of it, env what
// Terraform sees of the environment. A local backend's path is absolute.
func Open(ctx context.Context, backend string, config map[string]any, env map[string]string) (Lock, error) {
	switch backend {
	case Azurerm:
		state, err := OpenState(ctx, config, env)
		if err != nil {
			return nil, err
		}
		return state, nil
	case HTTP:
		return openRemote(config, env)
	case Local:
		return openFile(config, env)
	default:
		return nil, fmt.Errorf("the locks of backend %.40q cannot be looked at: only those of azurerm, http and local can; "+
			"next, when nothing works on the state any more: `terraform force-unlock LOCK_ID`", backend)
	}
}

// values are settings of a backend: its own configuration goes before the environment.
type values struct {
	config map[string]any
	env    map[string]string
}

func (v values) text(name string, variables ...string) string {
	value, _ := v.config[name].(string)
	for _, variable := range variables {
		if value == "" {
			value = v.env[variable]
		}
	}
	return value
}

// flag takes a setting that was given on a command line for what init makes of it.
func (v values) flag(name, variable string, otherwise bool) bool {
	if value, ok := v.config[name].(bool); ok {
		return value
	}
	if value := v.text(name, variable); value != "" {
		return strings.EqualFold(value, "true") || value == "1"
	}
	return otherwise
}

// workspace is the one that Terraform uses; empty is the default one.
// https://developer.hashicorp.com/terraform/cli/config/environment-variables#tf_workspace
func (v values) workspace() string {
	if name := v.env["TF_WORKSPACE"]; name != "default" {
		return name
	}
	return ""
}

// maxField bounds each field of a lock's description, in bytes.
const maxField = 512

// describe reads Terraform's description of a lock. What cannot be read is empty.
func describe(data []byte) *operation.LockInfo {
	info := &operation.LockInfo{}
	var said struct {
		ID, Path, Operation, Who, Version, Created string
	}
	if json.Unmarshal(data, &said) != nil { //nolint:musttag // Terraform's names are those of the fields
		return info
	}
	info.ID, info.Path, info.Operation = clip(said.ID), clip(said.Path), clip(said.Operation)
	info.Who, info.Version, info.Created = clip(said.Who), clip(said.Version), clip(said.Created)
	return info
}

func clip(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxField)], "")
}

// word quotes a word of a command line that a person copies, where it has to be.
func word(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
