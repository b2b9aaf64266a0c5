package cluster

import "fmt"

// checkLimits refuses time limits that contradict each other: the master would kill
// this worker in the middle of a drain, and no line would say what was cut.
func (w *Worker) checkLimits(s *Server) error {
	if drain := s.drainTimeout(); drain > w.killTimeout {
		return fmt.Errorf("the drain may take %v (Server.DrainTimeout), and the master kills a worker that has not left after %v (Config.KillTimeout): make the latter the longer one", drain, w.killTimeout)
	}
	return nil
}
