package story

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/switchyard-dev/switchyard/sandbox/azure"
)

// Store keeps states whose lock outlives who took it. The zero Store is the stand-in itself, with Terraform's http backend.
type Store struct {
	Backend  string                               // Terraform's type of it
	Why      string                               // what it is, or why it is not Azure; a sentence without its capital and its full stop
	Settings func(state string) map[string]string // of the backend
	Env      map[string]string                    // by which Terraform finds it, and may use it
}

// FindStore starts Azurite, which stands for Azure's storage, where it is installed below root as `make azurite` does, or anywhere on this
// machine and can be started. Its files are below dir. What it gives last ends it.
func FindStore(ctx context.Context, root, dir string) (Store, func(), error) {
	options, missing := azure.Find(root)
	if missing != "" {
		return Store{Why: missing}, func() {}, nil
	}
	options.Dir = filepath.Join(dir, "azure")
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return Store{}, nil, fmt.Errorf("make the directory of Azurite: %w", err)
	}
	running, err := azure.Start(ctx, options)
	if err != nil && ctx.Err() == nil {
		return Store{Why: err.Error()}, func() {}, nil
	}
	if err != nil {
		return Store{}, nil, err //nolint:wrapcheck // says what was started
	}
	return Store{
		Backend: "azurerm", Why: "Azurite stands for Azure's storage", Settings: running.Backend, Env: running.Env(),
	}, running.Close, nil
}
