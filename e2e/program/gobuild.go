package program

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/modelroute/chatcompletion/e2e/progress"
)

// linkBytes is how much source takes as long to compile as a large program takes to be linked.
const linkBytes = 7 << 20

// GoBuild is a run of `go build` that says how far it is.
type GoBuild struct {
	// Name identifies what is built in messages.
	Name string

	// Folder is the module.
	Folder string

	// Package is the package to build, as the go command names it in Folder.
	Package string

	// Output is the path of the executable.
	Output string

	// Flags are flags of `go build`.
	Flags []string

	// Set maps variables of the program to the values that they get.
	Set map[string]string
}

// Run builds the program. It writes to log if that takes more than a few seconds.
func (b GoBuild) Run(ctx context.Context, log io.Writer) error {
	line := progress.Start(log, "building "+b.Name)
	defer line.End()
	packages, err := b.missing(ctx, line)
	if err == nil {
		err = b.build(ctx, line, packages)
	}
	if err != nil {
		return fmt.Errorf("build %s: %w", b.Name, err)
	}
	return nil
}

// missing returns the packages that the build cache lacks, with the size of their source in bytes.
func (b GoBuild) missing(ctx context.Context, line *progress.Line) (map[string]int64, error) {
	// Without EmbedFiles, the go command takes packages that embed files for stale, and what depends on them.
	arguments := append([]string{"list", "-deps", "-json=ImportPath,Dir,GoFiles,CgoFiles,EmbedFiles,Stale"}, b.Flags...)
	line.Set(0, "listing its packages")
	downloads := 0
	output, err := runGo(ctx, b.Folder, func(text string) {
		if strings.HasPrefix(text, "go: downloading ") {
			downloads++
			line.Set(0, "%d modules downloaded", downloads)
		}
	}, append(arguments, b.Package)...)
	if err != nil {
		return nil, err
	}
	missing := map[string]int64{}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var listed struct {
			ImportPath, Dir   string
			GoFiles, CgoFiles []string
			Stale             bool
		}
		if err := decoder.Decode(&listed); errors.Is(err, io.EOF) {
			return missing, nil
		} else if err != nil {
			return nil, err
		}
		if listed.Stale {
			missing[listed.ImportPath] = sourceBytes(listed.Dir, append(listed.GoFiles, listed.CgoFiles...))
		}
	}
}

// sourceBytes returns the size of the files: the time to compile them is about proportional to it.
func sourceBytes(folder string, files []string) (size int64) {
	for _, name := range files {
		if info, err := os.Stat(filepath.Join(folder, name)); err == nil {
			size += info.Size()
		}
	}
	return size
}

// build runs `go build`, which names each package when it begins to compile it.
func (b GoBuild) build(ctx context.Context, line *progress.Line, missing map[string]int64) error {
	arguments := append([]string{"build", "-v", "-o", b.Output}, b.Flags...)
	if len(b.Set) > 0 {
		var set []string
		for variable, value := range b.Set {
			set = append(set, "-X "+variable+"="+value)
		}
		arguments = append(arguments, "-ldflags", strings.Join(set, " "))
	}
	_, err := runGo(ctx, b.Folder, follow(line, missing), append(arguments, b.Package)...)
	return err
}

// follow returns a function that takes the lines of `go build -v`, and records on line how far the
// build of the missing packages is.
func follow(line *progress.Line, missing map[string]int64) func(text string) {
	total, done := int64(linkBytes), int64(0)
	for _, size := range missing {
		total += size
	}
	all := len(missing)
	line.Set(0, "0 of %d packages", all)
	var begun []int64 // sizes of the packages that began to be compiled, one at a time on each processor
	return func(text string) {
		size, isMissing := missing[text]
		if !isMissing {
			return
		}
		delete(missing, text)
		begun = append(begun, size)
		if before := len(begun) - runtime.NumCPU(); before > 0 {
			done += begun[before-1]
		}
		note := "packages"
		if len(missing) == 0 {
			note = "packages, then linking"
		}
		line.Set(float64(done)/float64(total), "%d of %d %s", len(begun), all, note)
	}
}

// runGo runs the go command in the folder, passes each line of its standard error to seen, and
// returns its output. An error contains what the go command said.
func runGo(ctx context.Context, folder string, seen func(line string), arguments ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", arguments...)
	cmd.Dir = folder
	var output bytes.Buffer
	cmd.Stdout = &output
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var problem []string
	for lines := bufio.NewScanner(said); lines.Scan(); {
		text := lines.Text()
		seen(text)
		if strings.ContainsRune(text, ' ') && !strings.HasPrefix(text, "go: downloading ") { // else a package or a module
			problem = append(problem, text)
		}
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", arguments[0], err, strings.Join(problem, "\n"))
	}
	return output.Bytes(), nil
}
