package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// platforms are those that there are releases for.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

type buildCommand struct {
	Version  string   `required:"" help:"Version of the release: v1.2.3."`
	Source   string   `default:"." type:"existingdir" help:"Directory of the repository."`
	Out      string   `default:"dist" help:"Directory of the files that are made."`
	Time     int64    `env:"SOURCE_DATE_EPOCH" required:"" help:"Time that files in archives have, in seconds since 1970: that of the commit."`
	Platform []string `help:"Only these platforms: linux/amd64."`
}

// Run builds all platforms one after another. The same commit, version, time and Go make the same bytes.
func (c buildCommand) Run(ctx context.Context) error {
	if err := checkVersion(c.Version); err != nil {
		return err
	}
	if len(c.Platform) == 0 {
		c.Platform = platforms
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil { //nolint:gosec // everybody may read a release
		return fmt.Errorf("make directory: %w", err)
	}
	var made []string
	for _, platform := range c.Platform {
		names, err := c.one(ctx, platform)
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		made = append(made, names...)
	}
	return writeChecksums(c.Out, made)
}

// one builds one platform: the archive, and the bill of materials of the binary in it.
func (c buildCommand) one(ctx context.Context, platform string) ([]string, error) {
	system, processor, ok := strings.Cut(platform, "/")
	if !ok || !slices.Contains(platforms, platform) {
		return nil, fmt.Errorf("there are releases for %s", strings.Join(platforms, ", "))
	}
	dir, err := os.MkdirTemp("", "switchyard-release-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a copy of what is in the archive
	name := "switchyard"
	if system == "windows" {
		name = "switchyard.exe"
	}
	program := filepath.Join(dir, name)
	if err := c.compile(ctx, program, system, processor); err != nil {
		return nil, err
	}
	stem := fmt.Sprintf("switchyard_%s_%s_%s", c.Version, system, processor)
	archive, err := c.archive(program, filepath.Join(c.Source, "LICENSE"))
	if err != nil {
		return nil, err
	}
	bill, err := billOfMaterials(program, c.Version, time.Unix(c.Time, 0))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{stem + ".tar.gz": archive, stem + ".cdx.json": bill}
	var made []string
	for file, data := range files {
		if err := os.WriteFile(filepath.Join(c.Out, file), data, 0o644); err != nil { //nolint:gosec // everybody may read a release
			return nil, fmt.Errorf("write: %w", err)
		}
		made = append(made, file)
	}
	return made, nil
}

// compile builds the binary. What a machine or a person has set for Go must not change a byte, so little of its environment is there.
func (c buildCommand) compile(ctx context.Context, program, system, processor string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", //nolint:gosec // our own arguments
		"-ldflags", "-s -w -buildid= -X main.version="+c.Version, "-o", program, "./cmd/app")
	cmd.Dir = c.Source
	cmd.Env = []string{
		"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + processor, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOTOOLCHAIN=local",
	}
	for _, name := range []string{
		"PATH", "HOME", "GOPATH", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "HTTPS_PROXY", "https_proxy", "TMPDIR",
	} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// archive is the program with its licence, without anything that differs from machine to machine.
func (c buildCommand) archive(program, license string) ([]byte, error) {
	var data bytes.Buffer
	packed, err := gzip.NewWriterLevel(&data, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	files := tar.NewWriter(packed)
	for _, file := range []struct {
		path string
		mode int64
	}{{program, 0o755}, {license, 0o644}} {
		content, err := os.ReadFile(file.path)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		header := &tar.Header{
			Format: tar.FormatUSTAR, Name: filepath.Base(file.path), Mode: file.mode, Size: int64(len(content)), ModTime: time.Unix(c.Time, 0),
		}
		if err := files.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("archive %s: %w", header.Name, err)
		}
		if _, err := files.Write(content); err != nil {
			return nil, fmt.Errorf("archive %s: %w", header.Name, err)
		}
	}
	if err := errors.Join(files.Close(), packed.Close()); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return data.Bytes(), nil
}

// checksumsFile is what container/fetch.sh reads, and `sha256sum --check` too.
const checksumsFile = "checksums.txt"

func writeChecksums(dir string, names []string) error {
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // we have written it
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		sum := sha256.Sum256(data)
		fmt.Fprintf(&text, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	if err := os.WriteFile(filepath.Join(dir, checksumsFile), []byte(text.String()), 0o644); err != nil { //nolint:gosec // as above
		return fmt.Errorf("write checksums: %w", err)
	}
	return nil
}
