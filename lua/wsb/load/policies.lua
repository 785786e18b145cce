-- How the clients of well-known libraries come back, as options of a swarm: the `clients` of an arm, or part
-- of what ctx:clients is given. Their documented defaults.

local policies = {}

---Phoenix (phoenix.js): a fixed list, no jitter.
policies.phoenix = { reconnect = "list",
  reconnect_delays = "10ms,50ms,100ms,150ms,200ms,250ms,500ms,1s,2s,5s" }

---SignalR (withAutomaticReconnect): a fixed list, no jitter, then it gives up.
policies.signalr = { reconnect = "list", reconnect_delays = "0s,2s,10s,30s", reconnect_attempts = 4 }

---Socket.IO: 1 s doubling to 5 s, give or take half.
policies.socketio = { reconnect = "exponential", reconnect_base = "1s", reconnect_cap = "5s",
  reconnect_jitter = "spread", reconnect_spread = "50%" }

---Centrifuge (centrifuge-js): 0.5 s doubling to 20 s, full jitter.
policies.centrifuge = { reconnect = "exponential", reconnect_base = "500ms", reconnect_cap = "20s",
  reconnect_jitter = "full" }

---LiveKit (DefaultReconnectPolicy): a fixed list, up to a second added from the third attempt on.
policies.livekit = { reconnect = "list", reconnect_delays = "0s,300ms,1200ms,2700ms,4800ms,7s",
  reconnect_jitter = "added", reconnect_added = "1s", reconnect_jitter_from = 3 }

---gRPC (connection backoff): 1 s growing by 1.6 to 120 s, give or take a fifth.
policies.grpc = { reconnect = "exponential", reconnect_base = "1s", reconnect_factor = 1.6,
  reconnect_cap = "120s", reconnect_jitter = "spread", reconnect_spread = "20%" }

---RFC 6455 7.2.3: the first attempt within five seconds at random, then a delay that grows.
policies.rfc6455 = { reconnect = "exponential", reconnect_base = "1s", reconnect_cap = "30s",
  reconnect_jitter = "full", reconnect_window = "5s" }

return policies
