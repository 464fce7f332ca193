package gateway

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modelroute/chatcompletion/e2e/program"
)

const logFile = "traefik.log"

// Command describes a Traefik process.
type Command struct {
	// Binary is the path of Traefik's executable.
	Binary string

	// Plugin is the folder of the plugin's source. Default: the root of this repository.
	Plugin string

	// Static is the static configuration.
	Static any

	// Env is added to the inherited environment, as NAME=value.
	Env []string

	// Files are written to the working directory as YAML, keyed by file name.
	Files map[string]any
}

// Process is a Traefik process with its own temporary working directory.
type Process struct {
	*program.Process

	// Dir is the working directory. Stop removes it.
	Dir string

	// LogPath is the path of the file that holds everything Traefik writes to stdout and stderr.
	LogPath string
}

// Launch starts Traefik without waiting for it to serve. The caller must call Stop.
func Launch(command Command) (*Process, error) {
	dir, err := os.MkdirTemp("", "chatcompletion-traefik-")
	if err != nil {
		return nil, err
	}
	process, err := launch(dir, command)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return process, nil
}

func launch(dir string, command Command) (*Process, error) {
	source := command.Plugin
	if source == "" {
		root, err := Root()
		if err != nil {
			return nil, err
		}
		source = root
	}
	if err := InstallPlugin(dir, source); err != nil {
		return nil, err
	}
	if err := writeYAML(filepath.Join(dir, staticFile), command.Static); err != nil {
		return nil, err
	}
	for name, document := range command.Files {
		if err := writeYAML(filepath.Join(dir, name), document); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(dir, logFile))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()

	cmd := exec.Command(command.Binary, "--configFile="+staticFile)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), command.Env...)
	cmd.Stdout = log
	cmd.Stderr = log
	started, err := program.Start(cmd)
	if err != nil {
		return nil, fmt.Errorf("start traefik: %w", err)
	}
	return &Process{Process: started, Dir: dir, LogPath: log.Name()}, nil
}

// Stop ends the process, kills it if it does not exit in time, and removes its working directory.
func (p *Process) Stop() error {
	p.Process.Stop()
	return os.RemoveAll(p.Dir)
}
