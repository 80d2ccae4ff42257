package terraform

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
)

// Bounds of what TreeReader reads from one directory.
const (
	maxFiles    = 2000
	maxFileSize = 4 << 20
)

// wanted matches the files that this package reads.
var wanted = regexp.MustCompile(`\.(tf|tofu)(\.json)?$|\.(tf|tofu)(test|mock)\.(hcl|json)$|^\.terraform\.lock\.hcl$`)

// TreeReader reads configuration files from a checked-out tree. Links that lead out of the tree are not followed.
func TreeReader(tree *os.Root) FileReader {
	return func(dir string) (map[string][]byte, error) {
		entries, err := fs.ReadDir(tree.FS(), dir)
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		files := map[string][]byte{}
		for _, entry := range entries {
			if !wanted.MatchString(entry.Name()) {
				continue
			}
			if len(files) == maxFiles {
				return nil, fmt.Errorf("more than %d configuration files", maxFiles)
			}
			data, err := readRegular(tree, dir+"/"+entry.Name())
			if err != nil {
				return nil, err
			}
			if data != nil {
				files[entry.Name()] = data
			}
		}
		return files, nil
	}
}

// readRegular reads a regular file; nil when it is something else, or leads nowhere within the tree.
func readRegular(tree *os.Root, name string) (data []byte, err error) {
	info, err := tree.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil // a broken link, a link out of the tree, a pipe: Terraform will say so
	}
	file, err := tree.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	data, err = io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxFileSize)
	}
	return data, nil
}
