package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func syscalls(seconds float64) result {
	const blockers = 8
	var stop int32
	var chunks int64
	woken := make(chan int64, 64)
	var all, senders, receiver sync.WaitGroup
	for i := int64(0); i < procs(); i++ {
		all.Add(1)
		go func(x uint64) {
			for n := int64(0); ; n++ {
				if atomic.LoadInt32(&stop) != 0 {
					if x == 0 {
						n++
					}
					atomic.AddInt64(&chunks, n)
					all.Done()
					return
				}
				x = compute(x)
				runtime.Gosched()
			}
		}(uint64(i))
	}
	begin := now()
	for i := 0; i < blockers; i++ {
		senders.Add(1)
		go func() {
			for atomic.LoadInt32(&stop) == 0 {
				t := syscall.Timespec{Nsec: 50_000}
				syscall.Nanosleep(&t, nil)
				woken <- now()
			}
			senders.Done()
		}()
	}
	var samples []float64
	receiver.Add(1)
	go func() {
		for sent := range woken {
			samples = append(samples, float64(now()-sent))
		}
		receiver.Done()
	}()
	time.Sleep(time.Duration(2 * seconds * 1e9))
	atomic.StoreInt32(&stop, 1)
	senders.Wait()
	wall := float64(now() - begin)
	close(woken)
	receiver.Wait()
	all.Wait()
	calls := float64(len(samples))
	r := latency(samples)
	r.nsPerOp = wall / calls
	r.more = append(r.more, figure{"compute_ns", wall / float64(chunks)})
	return r
}

// checkpoint is what a call is in Go: its prologue looks whether this goroutine is to yield.
//
//go:noinline
func checkpoint(n *int) { checkpoint2(n) }

//go:noinline
func checkpoint2(n *int) { *n++ }

func hogs(seconds float64, checkpoints bool) result {
	var stop int32
	var all sync.WaitGroup
	for i := 0; i < 2; i++ {
		all.Add(1)
		go func() {
			n := 0
			if checkpoints {
				for atomic.LoadInt32(&stop) == 0 {
					checkpoint(&n)
				}
			} else {
				for atomic.LoadInt32(&stop) == 0 {
				}
			}
			all.Done()
		}()
	}
	var samples []float64
	end := now() + int64(4*seconds*1e9)
	for begin := now(); begin < end; begin = now() {
		time.Sleep(time.Millisecond)
		samples = append(samples, float64(now()-begin-1_000_000))
	}
	atomic.StoreInt32(&stop, 1)
	all.Wait()
	return latency(samples)
}

func addThreads() {
	add("syscalls/8", syscalls)
	add("preempt", func(seconds float64) result { return hogs(seconds, false) })
	add("preempt_checkpoint", func(seconds float64) result { return hogs(seconds, true) })
}
