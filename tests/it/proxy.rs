//! A TCP proxy between the tool and the appliance. TLS passes through it
//! untouched; it reads the lengths of the records, and can end or hold one
//! connection at one byte of one of them.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    runtime::Runtime,
    sync::Semaphore,
};

/// Whose bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToAppliance,
    ToTool,
}

/// A place in a TLS record, whose length is known only when it passes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Byte {
    /// So many bytes of it pass; with 0, it is not waited for.
    At(usize),
    /// Its first half passes.
    Half,
    /// All but its last byte pass.
    Last,
}

/// What happens there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both ends are sent a reset.
    Reset,
    /// Both ends are told that the other has closed.
    Close,
    /// Nothing passes in this direction until it is let go.
    Hold,
}

/// What is done to one connection.
#[derive(Clone, Copy)]
pub struct Cut {
    /// Counted from 0, in the order they were accepted.
    pub connection: usize,
    pub direction: Direction,
    /// Counted from 0, in this direction.
    pub record: usize,
    pub byte: Byte,
    pub kind: Kind,
}

impl fmt::Display for Cut {
    /// `CONNECTION/DIRECTION/RECORD+BYTE/KIND`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::ToAppliance => "to-appliance",
            Direction::ToTool => "to-tool",
        };
        write!(f, "{}/{direction}/{}+", self.connection, self.record)?;
        match self.byte {
            Byte::At(byte) => write!(f, "{byte}")?,
            Byte::Half => f.write_str("half")?,
            Byte::Last => f.write_str("last")?,
        }
        f.write_str(match self.kind {
            Kind::Reset => "/reset",
            Kind::Close => "/close",
            Kind::Hold => "/hold",
        })
    }
}

/// The lengths of the records of one connection, to the appliance and to the tool.
pub type Lengths = [Vec<usize>; 2];

/// A running proxy; it ends with the runtime it was started on.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    struck: mpsc::Receiver<()>,
}

struct Shared {
    appliance: SocketAddr,
    cut: Option<Cut>,
    lengths: Mutex<Vec<Lengths>>,
    striking: mpsc::Sender<()>,
    let_go: Semaphore,
}

impl Proxy {
    pub fn start(runtime: &Runtime, appliance: SocketAddr, cut: Option<Cut>) -> Self {
        let (striking, struck) = mpsc::channel();
        let (lengths, let_go) = (Mutex::default(), Semaphore::new(0));
        let shared = Arc::new(Shared { appliance, cut, lengths, striking, let_go });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, struck }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What passed so far, a connection after the other.
    pub fn lengths(&self) -> Vec<Lengths> {
        self.shared.lengths.lock().unwrap().clone()
    }

    /// Whether the cut was made or the hold reached.
    pub fn has_struck(&self) -> bool {
        self.struck.try_recv().is_ok()
    }

    /// Waits until the hold is reached.
    pub fn wait(&self) {
        self.struck.recv_timeout(Duration::from_secs(30)).expect("nothing came to be held");
    }

    /// What is held goes on.
    pub fn let_go(&self) {
        self.shared.let_go.add_permits(1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    for number in 0.. {
        let Ok((tool, _)) = listener.accept().await else { return };
        shared.lengths.lock().unwrap().push(Lengths::default());
        tokio::spawn(serve(number, tool, Arc::clone(&shared)));
    }
}

async fn serve(number: usize, mut tool: TcpStream, shared: Arc<Shared>) {
    let Ok(mut appliance) = TcpStream::connect(shared.appliance).await else { return };
    let (mut from_tool, mut to_tool) = tool.split();
    let (mut from_appliance, mut to_appliance) = appliance.split();
    let ended = tokio::try_join!(
        shared.pump(number, Direction::ToAppliance, &mut from_tool, &mut to_appliance),
        shared.pump(number, Direction::ToTool, &mut from_appliance, &mut to_tool),
    );
    match ended {
        Err(Kind::Reset) => {
            // Dropped with what was not sent, and with a reset.
            let _ = tool.set_zero_linger();
            let _ = appliance.set_zero_linger();
        }
        Err(_) => {
            let _ = (to_tool.shutdown().await, to_appliance.shutdown().await);
            // Dropped with something unread, it would be a reset.
            let (mut nowhere, mut nobody) = (sink(), sink());
            let _ = tokio::join!(copy(&mut from_tool, &mut nowhere), copy(&mut from_appliance, &mut nobody));
        }
        Ok(_) => {}
    }
}

impl Shared {
    /// Passes on one direction, record after record.
    ///
    /// # Errors
    /// How the connection is to be cut, now.
    async fn pump(
        &self,
        number: usize,
        direction: Direction,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), Kind> {
        let cut = self.cut.filter(|cut| cut.connection == number && cut.direction == direction);
        for place in 0.. {
            let cut = cut.filter(|cut| cut.record == place);
            if let Some(Cut { byte: Byte::At(0), kind, .. }) = cut {
                self.strike(kind).await?;
            }
            let mut record = vec![0; 5];
            if from.read_exact(&mut record).await.is_err() {
                break;
            }
            let length = 5 + usize::from(u16::from_be_bytes([record[3], record[4]]));
            record.resize(length, 0);
            if from.read_exact(&mut record[5..]).await.is_err() {
                break;
            }
            self.lengths.lock().unwrap()[number][direction as usize].push(length);
            let passes = match cut.map(|cut| cut.byte) {
                None | Some(Byte::At(0)) => length,
                Some(Byte::At(byte)) => byte.min(length),
                Some(Byte::Half) => length / 2,
                Some(Byte::Last) => length - 1,
            };
            if to.write_all(&record[..passes]).await.is_err() {
                break;
            }
            if let Some(cut) = cut.filter(|cut| cut.byte != Byte::At(0)) {
                self.strike(cut.kind).await?;
                if to.write_all(&record[passes..]).await.is_err() {
                    break;
                }
            }
        }
        let _ = to.shutdown().await;
        Ok(())
    }

    async fn strike(&self, kind: Kind) -> Result<(), Kind> {
        let _ = self.striking.send(());
        if kind != Kind::Hold {
            return Err(kind);
        }
        if let Ok(permit) = self.let_go.acquire().await {
            permit.forget();
        }
        Ok(())
    }
}
