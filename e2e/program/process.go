package program

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end by itself.
const stopGrace = 5 * time.Second

// Process is a running program.
type Process struct {
	process *os.Process
	done    chan struct{}
}

// Start starts the command. The caller ends it with Stop.
func Start(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	process := &Process{process: cmd.Process, done: make(chan struct{})}
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

// Terminate asks the process to end, and does not wait for it.
// Signals go through the handle of the process, so that they cannot reach another one with its id.
func (p *Process) Terminate() {
	_ = p.process.Signal(syscall.SIGTERM) // fails only where the process has ended
}

// Stop ends the process, by force if it does not end in time.
func (p *Process) Stop() {
	p.Terminate()
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.process.Kill()
		<-p.done
	}
}

// FreeAddress returns a loopback address that nothing listens on at the moment.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("no free loopback port: %w", err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}
