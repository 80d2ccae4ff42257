// Command fetch prints the directory of a Terraform for the tests: the one on PATH, else one that it downloads into
// the directory that its argument names. `make test` calls it.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/switchyard-dev/switchyard/terraform"
)

func main() {
	const arguments = 2
	if len(os.Args) != arguments {
		fmt.Fprintln(os.Stderr, "usage: fetch DIRECTORY")
		os.Exit(1) //nolint:forbidigo // a program of its own
	}
	path, err := terraform.Find(context.Background(), terraform.Want{InstallDir: os.Args[1]})
	if err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1) //nolint:forbidigo // a program of its own
	}
	fmt.Println(filepath.Dir(path)) //nolint:forbidigo // it is what the command is for
}
