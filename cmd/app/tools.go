package main

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/terraform"
)

// findTools makes sure that the programs are there that a server starts later: git, and Terraform where the settings say where
// it is. The server itself looks for Terraform on PATH, and downloads it.
func findTools(ctx context.Context, path string) error {
	if _, err := git.Find(ctx); err != nil {
		return err //nolint:wrapcheck // says itself what to do
	}
	if path == "" {
		return nil
	}
	if err := terraform.Runnable(path); err != nil {
		return fmt.Errorf("terraform.path: %w; write the path of the terraform or tofu binary, or leave the option out: "+
			"then terraform is found on PATH, or downloaded", err)
	}
	return nil
}
