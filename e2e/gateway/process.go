package gateway

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stopGrace is how long Traefik may take to end by itself; its entry points need one second.
const stopGrace = 5 * time.Second

const logFile = "traefik.log"

// Command describes a Traefik process.
type Command struct {
	// Binary is the path of Traefik's executable.
	Binary string

	// Plugin is the folder of the plugin's source. Default: the root of this repository.
	Plugin string

	// Static is the static configuration.
	Static any

	// Env is added to the environment of this process, as NAME=value.
	Env []string

	// Files are written to the working directory as YAML, by their names.
	Files map[string]any
}

// Process is a Traefik process with a temporary working directory of its own.
type Process struct {
	// Dir is the working directory. Stop removes it.
	Dir string

	// LogPath names the file with all that Traefik writes to its standard streams.
	LogPath string

	process *os.Process
	done    chan struct{}
}

// Launch starts Traefik and does not wait for it to serve. The caller ends it with Stop.
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
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start traefik: %w", err)
	}
	process := &Process{Dir: dir, LogPath: log.Name(), process: cmd.Process, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(process.done)
	}()
	return process, nil
}

// Pid is the id of the process.
func (p *Process) Pid() int { return p.process.Pid }

// Done is closed when the process has ended, by Stop or by itself.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop ends the process, by force if it does not end in time, and removes its working directory.
// Signals go through the handle of the process, so that they cannot reach another one with its id.
func (p *Process) Stop() error {
	_ = p.process.Signal(syscall.SIGTERM) // fails only where the process has ended
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.process.Kill()
		<-p.done
	}
	return os.RemoveAll(p.Dir)
}
