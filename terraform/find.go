package terraform

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	goversion "github.com/hashicorp/go-version"
	install "github.com/hashicorp/hc-install"
	"github.com/hashicorp/hc-install/fs"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"
	"github.com/hashicorp/hc-install/src"
)

// Deadlines of Find. The download is about 30 MB.
const (
	findTimeout     = 10 * time.Second
	downloadTimeout = 45 * time.Second
)

// Want says which binary Find looks for.
type Want struct {
	Binary     string // terraform (also when empty) or tofu
	Version    string // exact version; empty accepts any
	InstallDir string // where a download is kept; empty: never download
}

// Find gives the absolute path of a binary: on PATH, else in InstallDir, else downloaded from HashiCorp's releases
// into InstallDir. OpenTofu is never downloaded. The error says what was tried and what to do.
// https://developer.hashicorp.com/terraform/install
func Find(ctx context.Context, want Want) (string, error) {
	if want.Binary == "" {
		want.Binary = "terraform"
	}
	if want.Binary != "terraform" && want.Binary != "tofu" {
		return "", fmt.Errorf("binary %q is neither terraform nor tofu", want.Binary)
	}
	version, err := parseVersion(want.Version)
	if err != nil {
		return "", err
	}
	path, findErr := install.NewInstaller().Ensure(ctx, []src.Source{local(want, version)})
	if findErr == nil {
		return path, nil
	}
	name := want.Binary
	if want.Version != "" {
		name += " " + want.Version
	}
	if want.InstallDir == "" || want.Binary != "terraform" {
		return "", fmt.Errorf("%s is not on PATH: install it, or put its directory on PATH: %w", name, findErr)
	}
	if err := os.MkdirAll(want.InstallDir, 0o750); err != nil {
		return "", fmt.Errorf("make directory for %s: %w", name, err)
	}
	path, err = install.NewInstaller().Ensure(ctx, []src.Source{release(want, version)})
	if err != nil {
		return "", fmt.Errorf("%s is not on PATH, and could not be downloaded within %s: install it and put its directory on PATH, "+
			"or let this host reach https://releases.hashicorp.com: %w", name, downloadTimeout, err)
	}
	return path, nil
}

// Runnable reports why a program cannot be started; nil when it can. The name is a path, or looked for on PATH.
func Runnable(name string) error {
	if _, err := exec.LookPath(name); err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	return nil
}

// parseVersion reads an exact version; nil when s is empty.
func parseVersion(s string) (*goversion.Version, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // no version is wanted
	}
	version, err := goversion.NewSemver(s)
	if err != nil {
		return nil, fmt.Errorf("version %q is not an exact version like 1.11.4: %w", s, err)
	}
	return version, nil
}

// local is the source that looks on PATH and in InstallDir.
func local(want Want, version *goversion.Version) src.Source {
	binary := product.Product{Name: want.Binary, BinaryName: func() string { return want.Binary }, GetVersion: binaryVersion}
	var extra []string
	if want.InstallDir != "" {
		extra = append(extra, want.InstallDir)
	}
	if version == nil {
		return &fs.AnyVersion{Product: &binary, ExtraPaths: extra}
	}
	return &fs.ExactVersion{Product: binary, Version: version, ExtraPaths: extra, Timeout: findTimeout}
}

// release is the source that downloads.
func release(want Want, version *goversion.Version) src.Source {
	if version == nil {
		return &releases.LatestVersion{Product: product.Terraform, InstallDir: want.InstallDir, Timeout: downloadTimeout}
	}
	return &releases.ExactVersion{Product: product.Terraform, Version: version, InstallDir: want.InstallDir, Timeout: downloadTimeout}
}

// binaryVersion asks a binary for its version, in an environment of its own.
func binaryVersion(ctx context.Context, path string) (*goversion.Version, error) {
	absolute, err := exec.LookPath(path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", path, err)
	}
	env, err := Environ(Environment{Path: os.Getenv("PATH"), Home: os.TempDir(), Temp: os.TempDir(), ConfigFile: os.DevNull})
	if err != nil {
		return nil, err
	}
	answer, err := Tool{Path: absolute, Env: env}.Version(ctx)
	if err != nil {
		return nil, err
	}
	version, err := goversion.NewVersion(answer)
	if err != nil {
		return nil, fmt.Errorf("read the version of %s: %w", path, err)
	}
	return version, nil
}
